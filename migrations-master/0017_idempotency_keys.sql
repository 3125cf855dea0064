-- expand: what was answered to requests that created something and named a key, so that a repetition is answered alike

-- Written in the transaction of the creation. What is created in a tenant's database is remembered there, not here.
create table idempotency_keys (
  id uuid primary key,
  -- SHA-256 of who asked, in which tenant, on which route, with which key. Whoever comes second waits here for the first.
  scope_hash bytea not null unique check (length(scope_hash) = 32),
  -- SHA-256 of what was asked.
  body_hash bytea not null check (length(body_hash) = 32),
  person_id uuid not null references people on delete cascade,
  -- Null: on routes outside of tenants.
  tenant_id uuid references tenants on delete cascade,
  -- Sealed: it may hold secrets. Null only inside the transaction that has yet to create something.
  answer bytea,
  expires_at timestamptz not null
);
create index idempotency_keys_expires_at_idx on idempotency_keys (expires_at);
create index idempotency_keys_person_idx on idempotency_keys (person_id);
create index idempotency_keys_tenant_idx on idempotency_keys (tenant_id);
