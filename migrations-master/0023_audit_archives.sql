-- expand: audit logs of erased tenants, kept sealed for a set time

create table audit_archives (
  -- Not a foreign key: it begins before the tenant is erased and outlives it.
  tenant_id uuid primary key,
  entries bigint not null,
  -- The signed head of the log.
  checkpoint text,
  -- Where the log begins, when older entries were removed before.
  pruned text,
  created_at timestamptz not null default now(),
  erase_after timestamptz not null
);
create index audit_archives_erase_after_idx on audit_archives (erase_after);

-- The log in pieces, compressed and sealed under the master key: nobody reads a tenant's entries in the master.
create table audit_archive_parts (
  id uuid primary key,
  tenant_id uuid not null references audit_archives on delete cascade,
  part integer not null,
  sealed bytea not null,
  unique (tenant_id, part)
);

alter table erasures
  -- What was kept of the audit log, its last hash, and until when.
  add column audit_entries bigint,
  add column audit_hash text,
  add column audit_kept_until timestamptz;
