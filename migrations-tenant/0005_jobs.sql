-- expand: background jobs of this tenant, and the schedules that make them

create table job_schedules (
  id uuid primary key,
  name text not null check (length(name) between 1 and 200),
  type text not null,
  payload jsonb not null,
  -- A cron expression of five or six fields, read on the clocks of `time_zone` (an IANA name).
  cron text not null,
  time_zone text not null,
  enabled boolean not null,
  -- When its next job is due; null while it is not enabled, or never comes again.
  next_at timestamptz,
  last_at timestamptz,
  last_job_id uuid,
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index job_schedules_next_at_idx on job_schedules (next_at) where next_at is not null;

create table jobs (
  id uuid primary key,
  type text not null,
  payload jsonb not null,
  status text not null default 'queued' check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  -- Higher goes first.
  priority integer not null default 0 check (priority between -100 and 100),
  run_at timestamptz not null default now(),
  attempts integer not null default 0,
  max_attempts integer not null check (max_attempts between 1 and 25),
  idempotency_key text not null unique check (length(idempotency_key) between 1 and 255),
  -- SHA-256 of what was asked for; the same key with something else is a mistake.
  body_hash bytea not null,
  workspace_id uuid references workspaces on delete set null,
  schedule_id uuid references job_schedules on delete set null,
  result jsonb,
  -- A sentence for the tenant's people.
  error text,
  -- {done, total, message}, as the job tells it.
  progress jsonb,
  -- What a job of several steps goes on from; written with each step's effect.
  state jsonb,
  -- Grows with every claim and every cancellation: who holds an older number can change nothing any more.
  fence integer not null default 0,
  -- The worker that runs it, and when that last said so.
  worker_id uuid,
  heartbeat_at timestamptz,
  created_by uuid,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  check ((status = 'running') = (heartbeat_at is not null))
);
-- What is due, in the order in which it is taken.
create index jobs_queued_idx on jobs (priority desc, run_at, id) where status = 'queued';
-- When something will be due.
create index jobs_run_at_idx on jobs (run_at) where status = 'queued';
create index jobs_running_idx on jobs (heartbeat_at) where status = 'running';
create index jobs_unhappy_idx on jobs (id) where status in ('failed', 'cancelled');
create index jobs_workspace_idx on jobs (workspace_id, id) where workspace_id is not null;
create index jobs_schedule_idx on jobs (schedule_id, id) where schedule_id is not null;

grant select, insert, update, delete on jobs, job_schedules to freehold_tenant;
