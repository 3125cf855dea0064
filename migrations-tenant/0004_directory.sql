-- expand: the directory of people, roles in workspaces, archiving, slugs of projects

-- Whom the tenant's rows name. Members, system users and operators come from the master, which stays the truth about
-- them; people without an account are added here. Nobody leaves while a row of the tenant names them.
create table users (
  -- Of somebody with an account it is the account's own, unless they were added here before they had one.
  id uuid primary key,
  -- The account in the master.
  person_id uuid unique,
  kind text not null check (kind in ('member', 'added', 'system', 'operator')),
  -- 'removed': has been here, and is no longer. What a member's are beside that, the membership says.
  status text not null check (status in ('active', 'inactive', 'pending', 'removed')),
  -- Null until the master's word has come, and for those whose address is not the tenant's business.
  email text,
  first_name text,
  last_name text,
  created_by uuid references users on delete set null,
  -- Milliseconds, as the API shows them: what a cursor holds is exactly what a row has.
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  check (kind = 'added' or person_id is not null)
);
create unique index users_email_key on users (lower(email));
create index users_created_at_idx on users (created_at, id);
create index users_created_by_idx on users (created_by);

-- Whoever has made something is in the directory. Who is still a member, and their name, the master says later.
insert into users (id, person_id, kind, status)
  select created_by, created_by, 'member', 'removed' from (
    select created_by from workspaces union select created_by from projects
  ) makers where created_by is not null;

alter table workspaces
  alter created_at type timestamptz(3),
  alter updated_at type timestamptz(3),
  add archived_at timestamptz(3),
  add foreign key (created_by) references users on delete set null;
create index workspaces_created_at_idx on workspaces (created_at, id);
create index workspaces_created_by_idx on workspaces (created_by);

alter table projects
  alter created_at type timestamptz(3),
  alter updated_at type timestamptz(3),
  add slug text not null unique default gen_random_uuid()::text
    check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  add archived_at timestamptz(3),
  add foreign key (created_by) references users on delete set null;
create index projects_created_at_idx on projects (created_at, id);
create index projects_created_by_idx on projects (created_by);

create table workspace_members (
  workspace_id uuid not null references workspaces on delete cascade,
  user_id uuid not null references users on delete cascade,
  role text not null check (role in ('viewer', 'editor', 'admin')),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (workspace_id, user_id)
);
create index workspace_members_user_idx on workspace_members (user_id);

-- Nodes of the release before know no directory and still create things while this one is rolled out.
create function note_creator() returns trigger language plpgsql as $$
begin
  insert into users (id, person_id, kind, status)
    select new.created_by, new.created_by, 'member', 'removed'
    where not exists (select from users where id = new.created_by)
    on conflict do nothing;
  return new;
end $$;
create trigger note_creator before insert on workspaces
  for each row when (new.created_by is not null) execute function note_creator();
create trigger note_creator before insert on projects
  for each row when (new.created_by is not null) execute function note_creator();

grant select, insert, update, delete on users, workspace_members to freehold_tenant;
