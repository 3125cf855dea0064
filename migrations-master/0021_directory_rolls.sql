-- expand: whole directories of people are told to tenants' databases, not only changes

-- roll: everybody who is a member, and that nobody else is one. What it repairs: a database that was restored or forked,
-- and rows that were changed behind our back.
alter table tenant_outbox
  drop constraint tenant_outbox_kind_check,
  add constraint tenant_outbox_kind_check check (kind in ('audit', 'member', 'roll'));

-- When the roll of a tenant was last asked for.
create table directory_rolls (
  tenant_id uuid primary key references tenants on delete cascade,
  asked_at timestamptz not null
);

-- A database that takes another's place may be older, and know people who have left since.
create or replace function tell_new_database() returns trigger language plpgsql as $$
begin
  if old.database_id is not null then
    insert into tenant_outbox (tenant_id, kind, ref) values (new.id, 'roll', new.id);
  end if;
  perform wake_tenant_outbox(new.id) where exists (select from tenant_outbox where tenant_id = new.id);
  return null;
end
$$;

-- Tenants of the release before have no directory yet. Their databases are told once they are migrated.
insert into tenant_outbox (tenant_id, kind, ref) select id, 'roll', id from tenants where status <> 'deleted';
