-- expand: plans with limits, the tenants' subscriptions to them, and what is counted of their use

create table plans (
  id uuid primary key default gen_random_uuid(),
  -- What requests and tenants name it by; never changes.
  key text not null unique check (length(key) between 1 and 63),
  name text not null check (length(name) between 1 and 100),
  description text not null default '',
  -- Whoever has an archived plan keeps it; nobody gets it any more.
  status text not null default 'active' check (status in ('active', 'archived')),
  -- The part of connections against other tenants, when there are not enough for all.
  weight integer not null default 1 check (weight between 1 and 100),
  -- Null: no limit.
  seats integer check (seats >= 1),
  projects integer check (projects >= 0),
  jobs_per_day integer check (jobs_per_day >= 0),
  requests_per_minute integer check (requests_per_minute >= 1),
  connections integer check (connections >= 1),
  storage_bytes bigint check (storage_bytes >= 0),
  -- Null: no trial. A tenant tries a plan once.
  trial_days integer check (trial_days between 1 and 365),
  -- Whether a tenant's own Admins may choose it.
  self_service boolean not null default false,
  -- The plan that follows when this one ends; null: the tenant can only be read then.
  falls_back_to text references plans (key),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (falls_back_to <> key)
);

insert into plans (id, key, name, description, weight, seats, projects, jobs_per_day, requests_per_minute, connections,
                   storage_bytes, trial_days, self_service, falls_back_to)
values
  ('019a9e00-0000-7000-8000-000000000001', 'free', 'Free', 'What every tenant begins with. Has no limits until you set them.',
   1, null, null, null, null, null, null, null, true, null),
  ('019a9e00-0000-7000-8000-000000000002', 'team', 'Team', 'For a team.',
   2, 25, 100, 10000, 6000, 8, 10737418240, 14, true, 'free'),
  ('019a9e00-0000-7000-8000-000000000003', 'business', 'Business', 'For a whole company; the operator gives it.',
   4, 500, 2000, 200000, 60000, null, 107374182400, null, false, 'free');

-- Plans were free text until now: whoever has another one keeps it, without limits.
insert into plans (key, name, status)
select distinct plan, plan, 'archived' from tenants where plan not in (select key from plans);

alter table tenants add constraint tenants_plan_fkey foreign key (plan) references plans (key);
create index tenants_plan_idx on tenants (plan);

-- What there is to say of a tenant's plan beside which one it is. No row: it has it without an end.
create table subscriptions (
  tenant_id uuid primary key references tenants on delete cascade,
  status text not null default 'active' check (status in ('trialing', 'active', 'expired')),
  -- Of the trial, or of the plan.
  ends_at timestamptz,
  -- The end that the Admins were told of already.
  warned_of timestamptz,
  -- The plans it has tried.
  trials text[] not null default '{}',
  changed_by uuid references people on delete set null,
  changed_at timestamptz not null default now(),
  check (status = 'active' or ends_at is not null)
);
create index subscriptions_ends_at_idx on subscriptions (ends_at) where status <> 'expired';

-- What workers have measured of a tenant.
create table tenant_usage (
  tenant_id uuid primary key references tenants on delete cascade,
  storage_bytes bigint not null,
  measured_at timestamptz not null default now()
);

-- Requests of this minute, over all nodes, which add what they have counted about once a second. Unlogged: after a crash
-- of the server the minute begins anew.
create unlogged table request_counts (
  tenant_id uuid primary key,
  minute timestamptz not null,
  requests integer not null
);
create index request_counts_minute_idx on request_counts (minute);

-- Limits are part of what nodes remember of a tenant.
create function notify_plan_change() returns trigger language plpgsql as $$
begin
  perform pg_notify('freehold_changes', 'plan:' || old.key);
  return null;
end
$$;
create trigger plans_changed after update or delete on plans
  for each row execute function notify_plan_change();

create function notify_subscription_change() returns trigger language plpgsql as $$
declare
  subscription subscriptions := coalesce(new, old);
begin
  perform pg_notify('freehold_changes', 'tenant:' || subscription.tenant_id);
  return null;
end
$$;
create trigger subscriptions_changed after insert or update of status, ends_at or delete on subscriptions
  for each row execute function notify_subscription_change();

-- Only when it begins or ends to be more than the plan allows.
create function notify_usage_change() returns trigger language plpgsql as $$
declare
  most bigint;
  before bigint := case when tg_op = 'UPDATE' then old.storage_bytes else 0 end;
begin
  select p.storage_bytes into most from tenants t join plans p on p.key = t.plan where t.id = new.tenant_id;
  if (before > most) <> (new.storage_bytes > most) then
    perform pg_notify('freehold_changes', 'tenant:' || new.tenant_id);
  end if;
  return null;
end
$$;
create trigger tenant_usage_changed after insert or update of storage_bytes on tenant_usage
  for each row execute function notify_usage_change();
