-- expand: what was answered to requests that created something here and named a key, so that a repetition is answered alike

-- Written in the transaction of the creation. Not sealed: an answer holds nothing that this database does not hold anyway.
create table idempotency_keys (
  id uuid primary key,
  -- SHA-256 of who asked, on which route, with which key. Whoever comes second waits here for the first.
  scope_hash bytea not null unique check (length(scope_hash) = 32),
  -- SHA-256 of what was asked.
  body_hash bytea not null check (length(body_hash) = 32),
  -- Null only inside the transaction that has yet to create something.
  answer jsonb,
  expires_at timestamptz not null
);
create index idempotency_keys_expires_at_idx on idempotency_keys (expires_at);

grant select, insert, update, delete on idempotency_keys to freehold_tenant;
