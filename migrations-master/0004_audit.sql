-- expand: what happened to accounts and to the installation; a tenant's own events are in the tenant's database

create table audit_log (
  id uuid primary key,
  at timestamptz not null default now(),
  actor_kind text not null check (actor_kind in ('person', 'operator', 'system', 'nobody')),
  actor_id uuid,
  action text not null,
  entity_type text not null,
  entity_id text,
  address text,
  user_agent text,
  request_id text
);
create index audit_log_at_idx on audit_log (at, id);
create index audit_log_actor_idx on audit_log (actor_id, at);

-- Append-only: not even the owner changes an entry by mistake.
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only';
end
$$;
create trigger audit_log_append_only before update or delete or truncate on audit_log
  for each statement execute function refuse_change();
