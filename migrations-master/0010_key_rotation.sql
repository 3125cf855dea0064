-- expand: a new signing key is published before it signs, and every node hears of it

alter table signing_keys
  -- Until then it is only published, so that whoever verifies tokens knows it before the first token it signed.
  add column signs_from timestamptz not null default now();

-- Says 'access', which makes nodes read again what they remember.
create trigger signing_keys_changed after insert or update or delete on signing_keys
  for each statement execute function notify_change();
