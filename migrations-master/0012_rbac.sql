-- expand: a tenant's own roles and policies: nodes are told whose they are; audit entries say in which tenant

alter table audit_log
  -- In which tenant it happened. Not a foreign key: the entry outlives the tenant.
  add column tenant_id uuid,
  -- What else took part: ids and names of what the master itself keeps; never a tenant's data.
  add column details jsonb;
create index audit_log_tenant_idx on audit_log (tenant_id, at) where tenant_id is not null;

-- Payloads: access:<tenant> for what belongs to one tenant; access alone for what is the same in all of them. Nodes that do
-- not know the longer form take it as the short one.
create function notify_access_change() returns trigger language plpgsql as $$
declare
  owner uuid;
begin
  if tg_table_name = 'roles' then
    owner := old.tenant_id;
  elsif tg_op = 'UPDATE' then
    owner := null;
  elsif tg_table_name = 'role_policies' then
    select r.tenant_id into owner from roles r where r.id = coalesce(new.role_id, old.role_id);
    -- It went with its role, which says so itself.
    if not found then return null; end if;
  else
    select p.tenant_id into owner from policies p where p.id = coalesce(new.policy_id, old.policy_id);
    -- It went with its policy; the roles that had it lost it in the same statement, and that is told.
    if not found then return null; end if;
  end if;
  perform pg_notify('freehold_changes', case when owner is null then 'access' else 'access:' || owner end);
  return null;
end
$$;

drop trigger roles_changed on roles;
drop trigger role_policies_changed on role_policies;
drop trigger policy_permissions_changed on policy_permissions;
create trigger roles_changed after update or delete on roles
  for each row execute function notify_access_change();
create trigger role_policies_changed after insert or update or delete on role_policies
  for each row execute function notify_access_change();
create trigger policy_permissions_changed after insert or update or delete on policy_permissions
  for each row execute function notify_access_change();
