-- expand: times at which a worker must look into a tenant's database for jobs that are due

-- Nothing of a tenant's own: only that there may be something to do. Each row is a promise of its own, so that none is
-- taken back by another: a row goes when its look is in the queue.
create table tenant_wakeups (
  tenant_id uuid not null references tenants on delete cascade,
  wake_at timestamptz not null,
  primary key (tenant_id, wake_at)
);
create index tenant_wakeups_wake_at_idx on tenant_wakeups (wake_at);

-- Another database may hold jobs that nobody promised to look at: one restored from a backup, say.
create function wake_moved_tenant() returns trigger language plpgsql as $$
begin
  insert into tenant_wakeups (tenant_id, wake_at) values (new.id, date_trunc('second', now())) on conflict do nothing;
  return null;
end
$$;
create trigger tenants_moved after update of database_id on tenants for each row
  when (new.database_id is distinct from old.database_id and new.database_id is not null)
  execute function wake_moved_tenant();
