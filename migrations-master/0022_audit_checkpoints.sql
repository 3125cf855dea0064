-- expand: how far tenants' audit logs are sealed, signed, and the keys that sign

-- Keys of their own: they sign nothing else, and verify for as long as there are checkpoints.
create table audit_keys (
  -- The `kid` of what is signed with it.
  id text primary key,
  public_key text not null,
  private_key bytea not null,
  created_at timestamptz not null default now()
);

-- The head of each tenant's chain of hashes, outside of the tenant's own database. Of the log itself there is nothing here.
create table audit_checkpoints (
  -- Not a foreign key: it outlives the tenant, as its log does.
  tenant_id uuid primary key,
  position bigint not null,
  hash text not null check (hash ~ '^[0-9a-f]{64}$'),
  -- The same, signed: a JWS.
  checkpoint text not null,
  -- Entries up to here were removed when their time was over; signed too.
  pruned_position bigint not null default 0,
  pruned_hash text check (pruned_hash ~ '^[0-9a-f]{64}$'),
  pruned text,
  -- The chain in the tenant's database does not go on from here. Nothing is sealed until an operator has decided.
  broken_at timestamptz,
  updated_at timestamptz not null default now(),
  check ((pruned_position = 0) = (pruned_hash is null) and (pruned_hash is null) = (pruned is null))
);
