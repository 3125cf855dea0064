-- expand: clusters, databases, tenants and the deed between them

create table clusters (
  id uuid primary key,
  name text not null unique check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  kind text not null check (kind in ('shared', 'dedicated')),
  region text not null,
  host text not null,
  port integer not null check (port between 1 and 65535),
  ssl text not null check (ssl in ('disable', 'no-verify', 'verify-full')),
  -- The provisioner's own database, role and password on this server, sealed under the master key.
  provisioner bytea not null,
  status text not null default 'open' check (status in ('open', 'draining', 'closed')),
  created_at timestamptz not null default now()
);

create table databases (
  id uuid primary key,
  cluster_id uuid not null references clusters,
  -- Opaque and permanent; also the name of the login role.
  name text not null unique check (name ~ '^t_[a-z2-7]{26}$'),
  status text not null check (status in ('building', 'spare', 'held', 'retired', 'erasing')),
  -- The login role's password, sealed for (database, role, credential_version).
  secret bytea not null,
  credential_version integer not null default 1,
  schema_version text not null,
  -- Grows whenever the deed moves: a connection opened under an older epoch is fenced off.
  epoch integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index databases_status_idx on databases (cluster_id, status, created_at);

create table tenants (
  id uuid primary key,
  slug text not null unique check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  name text not null check (length(name) between 1 and 200),
  status text not null check (status in ('pending', 'active', 'suspended', 'deleted')),
  -- The deed: which database this tenant holds. Swapping it is the only commit point of lifecycle work.
  database_id uuid unique references databases,
  plan text not null,
  region text not null,
  tier text not null check (tier in ('shared', 'dedicated', 'external')),
  logo_url text,
  purge_after timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (status not in ('active', 'suspended') or database_id is not null)
);
create index tenants_created_at_idx on tenants (created_at, id);

create table operations (
  id uuid primary key,
  kind text not null check (kind in ('build', 'provision', 'erase', 'migrate')),
  status text not null check (status in ('running', 'succeeded', 'failed')),
  step text not null,
  tenant_id uuid references tenants,
  -- Not a foreign key: the journal outlives the database it speaks of.
  database_id uuid,
  cluster_id uuid references clusters,
  attempts integer not null default 1,
  error text,
  epoch integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  finished_at timestamptz
);
create index operations_running_idx on operations (created_at) where status = 'running';
create index operations_database_idx on operations (database_id);
