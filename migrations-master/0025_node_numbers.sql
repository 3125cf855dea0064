-- expand: what each node does with its connections, for who looks at all nodes from one

alter table node_shares
  -- At the last renewal, beside in_use. A node of the version before says none.
  add column pools integer not null default 0,
  add column leases integer not null default 0,
  add column waiters integer not null default 0,
  add column opening integer not null default 0,
  add column idle integer not null default 0,
  add column busy integer not null default 0,
  add column closing integer not null default 0;

-- As before, and notes what the node says of each cluster: {"<cluster>": {"claim": 8, "inUse": 3, "pools": 2, "waiters": 0, …}}.
create or replace function renew_node(
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
    select coalesce(sum(s.granted), 0) into others
      from node_shares s where s.cluster_id = found_cluster.id and s.node_id <> renew_node.node_id;
    cluster_id := found_cluster.id;
    nodes := members;
    whole := greatest(1, found_cluster.connection_budget - members * found_cluster.connections_per_node);
    target := case when node_routes then greatest(1, whole / routing) else 0 end;
    granted := greatest(claim, least(target, whole - others));
    insert into node_shares as s
        (node_id, cluster_id, granted, in_use, pools, leases, waiters, opening, idle, busy, closing)
      select renew_node.node_id, found_cluster.id, renew_node.granted, coalesce(said."inUse", 0), coalesce(said.pools, 0),
        coalesce(said.leases, 0), coalesce(said.waiters, 0), coalesce(said.opening, 0), coalesce(said.idle, 0),
        coalesce(said.busy, 0), coalesce(said.closing, 0)
      from jsonb_to_record(coalesce(claims -> found_cluster.id::text, '{}')) as said ("inUse" integer, pools integer,
        leases integer, waiters integer, opening integer, idle integer, busy integer, closing integer)
      on conflict on constraint node_shares_pkey do update
      set granted = excluded.granted, in_use = excluded.in_use, pools = excluded.pools, leases = excluded.leases,
        waiters = excluded.waiters, opening = excluded.opening, idle = excluded.idle, busy = excluded.busy,
        closing = excluded.closing
      where (s.granted, s.in_use, s.pools, s.leases, s.waiters, s.opening, s.idle, s.busy, s.closing)
        is distinct from (excluded.granted, excluded.in_use, excluded.pools, excluded.leases, excluded.waiters,
          excluded.opening, excluded.idle, excluded.busy, excluded.closing);
    return next;
  end loop;
end
$$;
