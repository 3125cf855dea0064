-- expand: how often what needs no session was asked for, by address and by account, over all nodes

-- Unlogged: it is written at every sign-in, and after a crash of the server everybody may as well begin anew.
create unlogged table rate_limits (
  -- A hash of the limit's name and of who is limited: what people type never stands here.
  key bytea primary key,
  -- When everything taken will have come back; each take moves it on (GCRA). In the past: nothing is taken.
  full_at timestamptz not null,
  -- Whether the last one who asked was let through.
  granted boolean not null
);
create index rate_limits_full_at_idx on rate_limits (full_at);
