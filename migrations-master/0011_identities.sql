-- expand: sign-in with other providers: who somebody is there, codes that become a session, links that connect an account

-- Who a person is at an OpenID Connect provider. Found by issuer and subject, never by an address.
create table identities (
  id uuid primary key,
  person_id uuid not null references people on delete cascade,
  issuer text not null check (length(issuer) between 1 and 2048),
  subject text not null check (length(subject) between 1 and 255),
  -- What the provider called the address when they were connected: for the person to tell them apart, nothing else.
  email text check (length(email) <= 254),
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  unique (issuer, subject)
);
create index identities_person_idx on identities (person_id, id);

-- What somebody who was at the provider exchanges for a session, once. A row is deleted by the one who uses it, and goes
-- with the identity.
create table sign_in_codes (
  code_hash bytea primary key,
  identity_id uuid not null references identities on delete cascade,
  -- SHA-256 of what only the program that began the sign-in knows; null when it named none.
  challenge bytea check (length(challenge) = 32),
  expires_at timestamptz not null
);
create index sign_in_codes_identity_idx on sign_in_codes (identity_id);
create index sign_in_codes_expires_at_idx on sign_in_codes (expires_at);

-- Sign-ins that came back from a provider, so that none comes back twice. Kept until they would have expired.
create table spent_sign_ins (
  state_hash bytea primary key,
  expires_at timestamptz not null
);
create index spent_sign_ins_expires_at_idx on spent_sign_ins (expires_at);

alter table mailed_tokens
  -- Of a link that connects an identity: which one.
  add column identity jsonb,
  drop constraint mailed_tokens_purpose_check,
  add constraint mailed_tokens_purpose_check check (
    purpose in ('sign_up', 'verify_email', 'reset_password', 'link_identity')),
  add constraint mailed_tokens_identity_check check ((purpose = 'link_identity') = (identity is not null));
