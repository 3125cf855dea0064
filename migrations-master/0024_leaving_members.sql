-- expand: tenants' databases are told that a member has left, also of those who are back before it is told

-- left: somebody's membership has ended. As they are when they are told, they may be a member again; what they had before
-- they left is not theirs any more.
alter table tenant_outbox
  drop constraint tenant_outbox_kind_check,
  add constraint tenant_outbox_kind_check check (kind in ('audit', 'member', 'roll', 'left'));

create function tell_tenant_of_leaving() returns trigger language plpgsql as $$
begin
  insert into tenant_outbox (tenant_id, kind, ref, created_at)
  select id, 'left', old.person_id, clock_timestamp() from tenants where id = old.tenant_id;
  return null;
end
$$;
create trigger memberships_left after delete on memberships
  for each row execute function tell_tenant_of_leaving();
