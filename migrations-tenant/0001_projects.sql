-- expand: the tenant's settings, workspaces and projects

-- The group role freehold_tenant holds what every tenant's login role may do; it owns nothing and cannot log in.

create table settings (
  only_row boolean primary key default true check (only_row),
  settings jsonb not null default '{}',
  metadata jsonb not null default '{}',
  updated_at timestamptz not null default now()
);
insert into settings default values;

create table workspaces (
  id uuid primary key,
  slug text not null unique check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  name text not null check (length(name) between 1 and 200),
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table projects (
  id uuid primary key,
  name text not null check (length(name) between 1 and 200),
  description text check (length(description) <= 10000),
  workspace_id uuid references workspaces,
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index projects_workspace_idx on projects (workspace_id, id);

grant select, update on settings to freehold_tenant;
grant select, insert, update, delete on workspaces, projects to freehold_tenant;
