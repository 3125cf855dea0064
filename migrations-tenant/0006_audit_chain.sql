-- expand: the audit log in order, with what changed, and the chain of hashes that its entries are sealed into

alter table audit_log
  drop constraint audit_log_actor_kind_check,
  -- platform_admin: a person who acts as one. operator: the installation's command line. system: Freehold itself.
  add constraint audit_log_actor_kind_check
    check (actor_kind in ('person', 'system_user', 'platform_admin', 'operator', 'system')),
  -- In the order of writing. Numbers of what was rolled back are missing, and those of slow transactions appear late.
  add column seq bigint generated always as identity,
  add column workspace_id uuid,
  -- What the entity was and is, where a feature says so.
  add column before jsonb,
  add column after jsonb,
  add column details jsonb;
create unique index audit_log_seq_idx on audit_log (seq);
create index audit_log_actor_idx on audit_log (actor_id, seq);
create index audit_log_action_idx on audit_log (action, seq);
create index audit_log_workspace_idx on audit_log (workspace_id, seq) where workspace_id is not null;

-- Each entry's place in the chain, and the hash of the entry with its place and the hash before it.
create table audit_seals (
  position bigint primary key,
  entry_id uuid not null unique,
  hash bytea not null check (length(hash) = 32)
);

-- Numbers below audit_chain.sealed_seq that were not there when their neighbours were sealed: they may appear yet.
create table audit_gaps (
  first_seq bigint primary key,
  last_seq bigint not null,
  -- Once all transactions up to here have ended, none of the numbers can appear any more.
  until_xid bigint not null default (pg_snapshot_xmax(pg_current_snapshot())::text::bigint),
  noticed_at timestamptz not null default now()
);

create table audit_chain (
  only_row boolean primary key default true check (only_row),
  -- Whatever has a higher number, or one in audit_gaps, is still to be sealed.
  sealed_seq bigint not null default 0,
  -- Entries up to here were removed when their time was over; the chain goes on from this hash.
  pruned_position bigint not null default 0,
  pruned_hash bytea
);
insert into audit_chain default values;

-- Not against whoever owns the database, who can do anything, and is found out by the chain: against slips.
create function refuse_audit_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('freehold.pruning', true) = 'on' then
    return null;
  end if;
  raise exception 'the audit log is append-only';
end
$$;
create trigger audit_log_append_only before update or delete or truncate on audit_log
  for each statement execute function refuse_audit_change();
create trigger audit_seals_append_only before update or delete or truncate on audit_seals
  for each statement execute function refuse_audit_change();

-- Read to verify; written by the sealer alone, which comes as the owner.
grant select on audit_seals, audit_gaps, audit_chain to freehold_tenant;
