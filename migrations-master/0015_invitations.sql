-- expand: invitations; tenants that are deleted, restored and erased, and the certificate of what was erased

-- Somebody was asked to join a tenant with a role. Kept for a while after it has ended, so that its link can say so.
create table invitations (
  id uuid primary key,
  tenant_id uuid not null references tenants on delete cascade,
  -- The address it was sent to: only who has proved it may accept.
  email text not null check (email = lower(email) and length(email) between 3 and 254),
  role_id uuid not null references roles on delete cascade,
  -- Who gives the role. Without this person, or when they may not give it any more, it is good for nothing.
  invited_by uuid references people on delete set null,
  -- Given by a platform admin as such, not as a member of the tenant.
  by_platform boolean not null default false,
  token_hash bytea not null unique,
  status text not null default 'open' check (status in ('open', 'accepted', 'declined', 'cancelled', 'expired')),
  created_at timestamptz not null default now(),
  sent_at timestamptz not null default now(),
  expires_at timestamptz not null,
  closed_at timestamptz,
  check ((status = 'open') = (closed_at is null))
);
create unique index invitations_open_key on invitations (tenant_id, email) where status = 'open';
create index invitations_email_idx on invitations (email);
create index invitations_role_idx on invitations (role_id);
create index invitations_closed_at_idx on invitations (closed_at);

-- Tokens that a later mail has replaced: whoever follows such a link learns that, and nothing else.
create table replaced_invitation_tokens (
  token_hash bytea primary key,
  invitation_id uuid not null references invitations on delete cascade
);
create index replaced_invitation_tokens_invitation_idx on replaced_invitation_tokens (invitation_id);

alter table tenants
  add column deleted_at timestamptz,
  -- What it was before it was deleted, and is again when it is restored in time.
  add column restore_to text check (restore_to in ('pending', 'active', 'suspended'));
create index tenants_purge_after_idx on tenants (purge_after) where status = 'deleted';

-- What is left of a tenant that was erased: which one it was, and when what went. Not foreign keys: it outlives them all.
create table erasures (
  id uuid primary key,
  tenant_id uuid not null unique,
  slug text not null,
  name text not null,
  -- Null: it never had a database.
  database_id uuid,
  database_name text,
  cluster text,
  created_at timestamptz not null,
  deleted_at timestamptz,
  -- From then on there was no way back.
  begun_at timestamptz not null default now(),
  -- The database, its roles and its secret are gone, and everything that the master knew of the tenant.
  finished_at timestamptz
);

alter table operations
  drop constraint operations_kind_check,
  add constraint operations_kind_check check (kind in ('build', 'provision', 'erase', 'migrate', 'purge')),
  -- As with databases: the journal outlives the tenant it speaks of.
  drop constraint operations_tenant_id_fkey;
