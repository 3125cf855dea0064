-- expand: platform admins who entered a tenant without being a member, each for a set time

create table tenant_entries (
  tenant_id uuid not null references tenants on delete cascade,
  person_id uuid not null references people on delete cascade,
  -- In the person's own words; the tenant's Admins read it.
  reason text not null check (length(reason) between 1 and 500),
  entered_at timestamptz not null default now(),
  -- From then on nothing is granted any more.
  expires_at timestamptz not null,
  -- Entered again, an entry begins anew.
  primary key (tenant_id, person_id)
);
create index tenant_entries_person_idx on tenant_entries (person_id);
create index tenant_entries_expires_at_idx on tenant_entries (expires_at);

-- Says what a membership says, because it grants what a membership grants.
create function notify_entry_change() returns trigger language plpgsql as $$
declare
  entry tenant_entries := coalesce(new, old);
begin
  perform pg_notify('freehold_changes', 'membership:' || entry.tenant_id || ':' || entry.person_id);
  return null;
end
$$;
create trigger tenant_entries_changed after insert or update or delete on tenant_entries
  for each row execute function notify_entry_change();
