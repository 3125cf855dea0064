-- expand: sessions, refresh tokens, signing keys; roles, policies, permissions and memberships

create table sessions (
  id uuid primary key,
  person_id uuid not null references people on delete cascade,
  -- The chosen tenant; kept over refresh.
  tenant_id uuid references tenants on delete set null,
  -- Refresh tokens are derived from this secret and the generation, so that a lost answer can be given again.
  secret bytea not null,
  generation integer not null default 1,
  rotated_at timestamptz not null default now(),
  authenticated_by text not null check (authenticated_by in ('password')),
  authenticated_at timestamptz not null default now(),
  address text,
  user_agent text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at timestamptz,
  end_reason text check (end_reason in ('logout', 'reuse', 'disabled', 'expired'))
);
create index sessions_person_idx on sessions (person_id, created_at);

create table refresh_tokens (
  token_hash bytea primary key,
  session_id uuid not null references sessions on delete cascade,
  generation integer not null,
  created_at timestamptz not null default now(),
  unique (session_id, generation)
);

create table signing_keys (
  -- The `kid` of tokens signed with it.
  id text primary key,
  algorithm text not null check (algorithm in ('EdDSA')),
  public_key text not null,
  private_key bytea not null,
  created_at timestamptz not null default now(),
  -- From then on nothing is signed with it; it is published until every token it signed has expired.
  retired_at timestamptz
);

create table roles (
  id uuid primary key,
  -- Null: a system role, the same in every tenant.
  tenant_id uuid references tenants on delete cascade,
  name text not null check (length(name) between 1 and 100),
  description text not null default '',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique nulls not distinct (tenant_id, name)
);

create table policies (
  id uuid primary key,
  tenant_id uuid references tenants on delete cascade,
  name text not null check (length(name) between 1 and 100),
  description text not null default '',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique nulls not distinct (tenant_id, name)
);

create table role_policies (
  role_id uuid not null references roles on delete cascade,
  policy_id uuid not null references policies on delete cascade,
  primary key (role_id, policy_id)
);
create index role_policies_policy_idx on role_policies (policy_id);

create table policy_permissions (
  policy_id uuid not null references policies on delete cascade,
  permission text not null check (permission ~ '^[a-z0-9-]+:[a-z0-9-]+:([a-z0-9-]+|\*)$' or permission ~ '^[a-z0-9-]+:\*$'),
  primary key (policy_id, permission)
);

create table memberships (
  tenant_id uuid not null references tenants on delete cascade,
  person_id uuid not null references people on delete cascade,
  role_id uuid not null references roles,
  status text not null default 'active' check (status in ('active', 'inactive', 'pending')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, person_id)
);
create index memberships_person_idx on memberships (person_id);
create index memberships_role_idx on memberships (role_id);
