-- expand: people and this installation itself

create table installation (
  only_row boolean primary key default true check (only_row),
  id uuid not null,
  -- A known text sealed under the master key: tells a wrong MASTER_KEY at start instead of at the first secret.
  key_check bytea not null,
  -- When the first admin's generated password was shown. Until then every start makes and shows a new one.
  admin_shown_at timestamptz,
  created_at timestamptz not null default now()
);

create table people (
  id uuid primary key,
  email text not null check (email = lower(email) and length(email) between 3 and 254),
  first_name text not null,
  last_name text,
  password_hash text,
  email_verified_at timestamptz,
  platform_admin boolean not null default false,
  disabled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index people_email_key on people (email);
