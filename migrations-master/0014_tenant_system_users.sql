-- expand: system users that a tenant keeps for itself

alter table system_users
  -- Whose Admins keep it, and the one tenant it may be a member of. Null: the platform admins, and any.
  add column tenant_id uuid references tenants on delete cascade;
create index system_users_tenant_idx on system_users (tenant_id, id) where tenant_id is not null;

-- Whoever keeps its secret gets in wherever it is a member: so nobody makes it one elsewhere.
create function keep_system_user_home() returns trigger language plpgsql as $$
begin
  if exists (select from system_users s where s.id = new.person_id and s.tenant_id <> new.tenant_id) then
    raise exception 'a system user of one tenant cannot be a member of another'
      using errcode = 'check_violation', constraint = 'memberships_system_user_home_check';
  end if;
  return new;
end
$$;
create trigger memberships_keep_home before insert or update of tenant_id, person_id on memberships
  for each row execute function keep_system_user_home();
