-- expand: what happened in this tenant, written in the same transaction as the change

create table audit_log (
  id uuid primary key,
  at timestamptz not null default now(),
  actor_kind text not null check (actor_kind in ('person', 'operator', 'system')),
  actor_id uuid,
  action text not null,
  entity_type text not null,
  entity_id uuid,
  address text,
  user_agent text,
  request_id text
);
create index audit_log_at_idx on audit_log (at, id);
create index audit_log_entity_idx on audit_log (entity_type, entity_id, at);

-- Append-only for the tenant's role: it may add and read, never change or remove.
grant select, insert on audit_log to freehold_tenant;
