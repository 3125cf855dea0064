-- expand: which nodes run, and how each cluster's budget of server connections is shared between them

alter table clusters
  -- Server connections that all nodes together may have to this cluster's tenants. A node sets it when it starts.
  add column connection_budget integer not null default 20 check (connection_budget >= 1),
  -- So many of them each node takes for itself, because the master is on the same server.
  add column connections_per_node integer not null default 0 check (connections_per_node >= 0);

create table nodes (
  id uuid primary key,
  role text not null check (role in ('all', 'api', 'worker')),
  version text not null,
  -- For people: where it runs.
  host text not null,
  -- False: it opens no tenant connections and has no part in the shares.
  routes boolean not null,
  -- Counts the renewals it has sent. One that arrives late, after a newer one, must not undo it.
  renewal integer not null,
  started_at timestamptz not null,
  heartbeat_at timestamptz not null,
  -- Until then it may use its shares, and nobody else may.
  expires_at timestamptz not null
);

create table node_shares (
  node_id uuid not null references nodes on delete cascade,
  cluster_id uuid not null references clusters on delete cascade,
  -- The most connections the node can have before its next renewal.
  granted integer not null check (granted >= 0),
  -- How many it had at its last renewal.
  in_use integer not null check (in_use >= 0),
  primary key (node_id, cluster_id)
);
create index node_shares_cluster_idx on node_shares (cluster_id);

-- Renews a node's lease and answers its shares. One statement, so that the lock which puts all renewals in a row is never
-- held over a network. `claims` is what the node limits itself to now, whatever was granted before:
-- {"<cluster>": {"claim": 8, "inUse": 3}}. It gets more only out of what nobody holds.
create function renew_node(
  node_id uuid, node_role text, node_version text, node_host text, node_routes boolean,
  node_renewal integer, lease interval, claims jsonb
) returns table (cluster_id uuid, nodes integer, whole integer, target integer, granted integer)
language plpgsql as $$
#variable_conflict use_column
declare
  moment timestamptz;
  found_cluster record;
  members integer;
  routing integer;
  others integer;
  claim integer;
  used integer;
begin
  perform pg_advisory_xact_lock(hashtextextended('freehold nodes', 0));
  moment := clock_timestamp();
  delete from nodes n where n.expires_at <= moment and n.id <> renew_node.node_id;
  insert into nodes as n (id, role, version, host, routes, renewal, started_at, heartbeat_at, expires_at)
    values (renew_node.node_id, node_role, node_version, node_host, node_routes, node_renewal, moment, moment, moment + lease)
    on conflict (id) do update
      set renewal = excluded.renewal, heartbeat_at = moment, expires_at = excluded.expires_at
      where n.renewal < excluded.renewal;
  if not found then
    raise exception 'this renewal is older than the last one';
  end if;
  select count(*), count(*) filter (where n.routes) into members, routing from nodes n;
  for found_cluster in select c.id, c.connection_budget, c.connections_per_node from clusters c order by c.id loop
    claim := coalesce((claims -> found_cluster.id::text ->> 'claim')::integer, 0);
    used := coalesce((claims -> found_cluster.id::text ->> 'inUse')::integer, 0);
    select coalesce(sum(s.granted), 0) into others
      from node_shares s where s.cluster_id = found_cluster.id and s.node_id <> renew_node.node_id;
    cluster_id := found_cluster.id;
    nodes := members;
    whole := greatest(1, found_cluster.connection_budget - members * found_cluster.connections_per_node);
    target := case when node_routes then greatest(1, whole / routing) else 0 end;
    granted := greatest(claim, least(target, whole - others));
    insert into node_shares as s (node_id, cluster_id, granted, in_use)
      values (renew_node.node_id, found_cluster.id, renew_node.granted, used)
      on conflict on constraint node_shares_pkey do update set granted = excluded.granted, in_use = excluded.in_use
      where s.granted <> excluded.granted or s.in_use <> excluded.in_use;
    return next;
  end loop;
end
$$;
