-- expand: system users (service accounts), their secrets, and the sessions that a secret has opened

-- A system user has memberships and sessions as a person has, but never a password, and never the whole installation.
alter table people
  add column kind text not null default 'person' check (kind in ('person', 'system')),
  add constraint people_system_user_check check (kind = 'person' or (password_hash is null and not platform_admin));

create table system_users (
  id uuid primary key references people on delete cascade,
  -- What kind of program it is, in the operators' own words.
  service_type text not null check (length(service_type) between 1 and 63),
  metadata jsonb not null default '{}',
  last_used_at timestamptz
);

create table system_user_secrets (
  id uuid primary key,
  system_user_id uuid not null references system_users on delete cascade,
  secret_hash bytea not null unique,
  created_at timestamptz not null default now(),
  -- Null: the newest one. An older one is good until then, so that a program can be given the new one meanwhile.
  expires_at timestamptz
);
create unique index system_user_secrets_newest_idx on system_user_secrets (system_user_id) where expires_at is null;
create index system_user_secrets_user_idx on system_user_secrets (system_user_id);
create index system_user_secrets_expires_at_idx on system_user_secrets (expires_at);

-- With the secret go the sessions that it has opened.
alter table sessions add column system_secret_id uuid references system_user_secrets on delete cascade;
create index sessions_system_secret_idx on sessions (system_secret_id) where system_secret_id is not null;
