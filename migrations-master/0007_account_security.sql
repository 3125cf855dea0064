-- expand: idle sessions, how a session was proved, known devices, links sent by mail, sealed payloads of jobs

alter table sessions
  -- Which proofs were given (RFC 8176: pwd, otp, hwk, fed …), in the order they came. Takes the place of authenticated_by.
  add column amr text[] not null default '{pwd}' check (cardinality(amr) > 0),
  alter column authenticated_by set default 'password',
  add column last_used_at timestamptz not null default now(),
  -- Ends then, unless it is used before; at expires_at it ends anyhow.
  add column idle_expires_at timestamptz not null default now() + interval '14 days',
  -- Refresh tokens from this generation on are good: a switch hands out a new one without spending the others. A refresh
  -- with the newest one spends all before its successor, and what was good until then stays so for the leeway.
  add column oldest_good integer not null default 1,
  add column oldest_good_before integer not null default 1,
  drop constraint sessions_end_reason_check,
  add constraint sessions_end_reason_check check (end_reason in (
    'logout', 'reuse', 'disabled', 'expired', 'revoked', 'password_changed', 'password_reset', 'taken_over'));

update sessions set oldest_good = generation, oldest_good_before = greatest(generation - 1, 1);

-- From where a person has signed in before: what is in no row here is worth a mail.
create table known_devices (
  person_id uuid not null references people on delete cascade,
  -- A hash of person, kind of client and network; see access/devices.ts.
  fingerprint bytea not null,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  primary key (person_id, fingerprint)
);

-- What a link in a mail proves. A row is deleted by the one who uses it.
create table mailed_tokens (
  id uuid primary key,
  purpose text not null check (purpose in ('sign_up', 'verify_email', 'reset_password')),
  token_hash bytea not null unique,
  -- The address it was sent to, and so the address it proves.
  email text not null check (email = lower(email) and length(email) between 3 and 254),
  -- Null for a sign-up: there is no account before the address is proved.
  person_id uuid references people on delete cascade,
  -- Of a sign-up: names and the hash of the password.
  registration jsonb,
  -- Another sign-up with this address was waiting: which of their passwords is the owner's, nobody can tell.
  contested boolean not null default false,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  -- A new one takes the old one's place.
  unique (purpose, email),
  check ((purpose = 'sign_up') = (person_id is null)),
  check ((purpose = 'sign_up') = (registration is not null))
);
create index mailed_tokens_person_idx on mailed_tokens (person_id);
create index mailed_tokens_expires_at_idx on mailed_tokens (expires_at);

-- What a job must know and the queue must not show: sealed under the master key, deleted when the job is done.
create table sealed_payloads (
  id uuid primary key,
  sealed bytea not null,
  created_at timestamptz not null default now()
);
