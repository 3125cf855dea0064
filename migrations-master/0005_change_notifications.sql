-- expand: every node hears of a change that its caches must forget, whoever made the change

-- Payloads on channel freehold_changes: session:<id>, person:<id>, membership:<tenant>:<person>, tenant:<id>, access.
create function notify_change() returns trigger language plpgsql as $$
declare
  tenant uuid;
begin
  case tg_table_name
    when 'sessions' then
      perform pg_notify('freehold_changes', 'session:' || old.id);
    when 'people' then
      perform pg_notify('freehold_changes', 'person:' || old.id);
    when 'memberships' then
      if tg_op <> 'INSERT' then
        perform pg_notify('freehold_changes', 'membership:' || old.tenant_id || ':' || old.person_id);
      end if;
      if tg_op <> 'DELETE' then
        perform pg_notify('freehold_changes', 'membership:' || new.tenant_id || ':' || new.person_id);
      end if;
    when 'tenants' then
      if tg_op = 'DELETE' then
        perform pg_notify('freehold_changes', 'tenant:' || old.id);
      else
        perform pg_notify('freehold_changes', 'tenant:' || new.id);
      end if;
    when 'databases' then
      select id into tenant from tenants where database_id = new.id;
      if tenant is not null then
        perform pg_notify('freehold_changes', 'tenant:' || tenant);
      end if;
    when 'clusters' then
      for tenant in
        select t.id from tenants t join databases d on d.id = t.database_id where d.cluster_id = new.id
      loop
        perform pg_notify('freehold_changes', 'tenant:' || tenant);
      end loop;
    else
      perform pg_notify('freehold_changes', 'access');
  end case;
  return null;
end
$$;

create trigger sessions_changed after update of ended_at, expires_at or delete on sessions
  for each row execute function notify_change();
create trigger people_changed after update of disabled_at, platform_admin or delete on people
  for each row execute function notify_change();
create trigger memberships_changed after insert or update or delete on memberships
  for each row execute function notify_change();
create trigger tenants_changed after insert or update or delete on tenants
  for each row execute function notify_change();
create trigger databases_changed after update on databases
  for each row execute function notify_change();
create trigger clusters_changed after update of host, port, ssl on clusters
  for each row execute function notify_change();
create trigger roles_changed after update or delete on roles
  for each statement execute function notify_change();
create trigger role_policies_changed after insert or update or delete on role_policies
  for each statement execute function notify_change();
create trigger policy_permissions_changed after insert or update or delete on policy_permissions
  for each statement execute function notify_change();
