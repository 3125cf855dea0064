-- expand: sessions whose tokens live in cookies

alter table sessions
  -- SHA-256 of the token that proves that a page, not only its cookies, sent a request. Null: the tokens of this session are
  -- sent by hand, and are good nowhere else; not null: they live in cookies, and are good only there.
  add column csrf_hash bytea check (length(csrf_hash) = 32);
