-- expand: notes

create table notes (
  id uuid primary key,
  text text not null check (length(text) between 1 and 1000),
  words integer,
  created_by uuid references users on delete set null,
  created_at timestamptz(3) not null default now()
);

grant select, insert, update, delete on notes to freehold_tenant;
