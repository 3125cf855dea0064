-- expand: what tenants' own databases are still to be told of what happened here

alter table audit_log
  drop constraint audit_log_actor_kind_check,
  add constraint audit_log_actor_kind_check
    check (actor_kind in ('person', 'platform_admin', 'operator', 'system', 'nobody'));

-- Rows are written in the transaction of the change and removed once the tenant's database has committed what they speak of.
-- They are pointers: the entry is read from audit_log, the member as they are when they are told.
create table tenant_outbox (
  id bigint generated always as identity primary key,
  -- Not a foreign key: whatever concerns many tenants would lock each of them against its own changes.
  tenant_id uuid not null,
  -- audit: an entry of audit_log. member: a person who is, or was, a member.
  kind text not null check (kind in ('audit', 'member')),
  ref uuid not null,
  created_at timestamptz not null default now()
);
create index tenant_outbox_tenant_idx on tenant_outbox (tenant_id, id);

-- Queues the telling. A job key makes transactions wait for each other, and two that concern several tenants could wait in a
-- circle: so only one transaction at a time uses it, and another adds a job of its own.
create function wake_tenant_outbox(tenant uuid) returns void language plpgsql as $$
declare
  key text := 'tenant-outbox:' || tenant;
  alone boolean := pg_try_advisory_xact_lock(hashtextextended(key, 0));
begin
  perform graphile_worker.add_job(
    'tenant-outbox', json_build_object('tenantId', tenant), max_attempts => 7,
    job_key => case when alone then key end, job_key_mode => 'preserve_run_at');
end
$$;

create function wake_filled_outboxes() returns trigger language plpgsql as $$
begin
  perform wake_tenant_outbox(tenant_id) from (select distinct tenant_id from added order by tenant_id) as filled;
  return null;
end
$$;
create trigger tenant_outbox_filled after insert on tenant_outbox
  referencing new table as added
  for each statement execute function wake_filled_outboxes();

create function tell_tenant_of_entry() returns trigger language plpgsql as $$
begin
  insert into tenant_outbox (tenant_id, kind, ref)
  select t.id, 'audit', new.id from tenants t where t.id = new.tenant_id;
  return null;
end
$$;
create trigger audit_log_told after insert on audit_log
  for each row when (new.tenant_id is not null) execute function tell_tenant_of_entry();

create function tell_tenant_of_member() returns trigger language plpgsql as $$
begin
  insert into tenant_outbox (tenant_id, kind, ref)
  select t.id, 'member', m.person_id
    from (values (old.tenant_id, old.person_id), (new.tenant_id, new.person_id)) as m (tenant_id, person_id)
    join tenants t on t.id = m.tenant_id
   group by t.id, m.person_id
   order by t.id;
  return null;
end
$$;
create trigger memberships_told after insert or delete on memberships
  for each row execute function tell_tenant_of_member();
create trigger changed_memberships_told after update on memberships
  for each row when (
    (old.tenant_id, old.person_id, old.status) is distinct from (new.tenant_id, new.person_id, new.status))
  execute function tell_tenant_of_member();

-- A deleted person's memberships go with them, and that is told above.
create function tell_tenants_of_person() returns trigger language plpgsql as $$
begin
  insert into tenant_outbox (tenant_id, kind, ref)
  select tenant_id, 'member', new.id from memberships where person_id = new.id order by tenant_id;
  return null;
end
$$;
create trigger people_told after update of email, first_name, last_name, disabled_at on people
  for each row when (
    (old.email, old.first_name, old.last_name, old.disabled_at)
      is distinct from (new.email, new.first_name, new.last_name, new.disabled_at))
  execute function tell_tenants_of_person();

-- What waited for a database, or for its migration, can be told now. A database that takes another's place may be older.
create function tell_new_database() returns trigger language plpgsql as $$
begin
  if old.database_id is not null then
    insert into tenant_outbox (tenant_id, kind, ref)
    select tenant_id, 'member', person_id from memberships where tenant_id = new.id;
  end if;
  perform wake_tenant_outbox(new.id) where exists (select from tenant_outbox where tenant_id = new.id);
  return null;
end
$$;
create trigger tenants_told_after_deed after update of database_id on tenants
  for each row when (new.database_id is not null and new.database_id is distinct from old.database_id)
  execute function tell_new_database();

create function tell_migrated_database() returns trigger language plpgsql as $$
begin
  perform wake_tenant_outbox(t.id) from tenants t
    where t.database_id = new.id and exists (select from tenant_outbox o where o.tenant_id = t.id);
  return null;
end
$$;
create trigger databases_told_after_migration after update of schema_version on databases
  for each row when (new.schema_version <> old.schema_version) execute function tell_migrated_database();

create function empty_outbox() returns trigger language plpgsql as $$
begin
  delete from tenant_outbox where tenant_id = old.id;
  return null;
end
$$;
create trigger tenants_outbox_emptied after delete on tenants
  for each row execute function empty_outbox();
