-- The roles and the database that Freehold needs on a PostgreSQL server of yours (16 or newer). Once, as a superuser,
-- with psql 15 or newer:
--
--   MASTER_PASSWORD=… PROVISIONER_PASSWORD=… psql -f docs/postgres-roles.sql postgres
--
-- Both passwords become part of an address: hexadecimal ones (openssl rand -hex 24) need no escaping there.

\set ON_ERROR_STOP on
\getenv master_password MASTER_PASSWORD
\getenv provisioner_password PROVISIONER_PASSWORD

-- Keeps the passwords out of the server's log, also when a statement fails.
set log_statement = 'none';
set log_min_duration_statement = -1;
set log_min_error_statement = 'panic';

-- Owns the master database and can connect nowhere else.
create role freehold_master login nosuperuser nocreatedb nocreaterole password :'master_password';
-- Makes the tenants' databases and roles; from PostgreSQL 16 on CREATEROLE rules only over the roles it made itself.
create role freehold_provisioner login nosuperuser createdb createrole password :'provisioner_password';

create database freehold owner freehold_master template template0 encoding 'UTF8';

-- Every role may connect to every database until this is taken away. Who else uses `postgres` here needs a grant of its own.
revoke connect, temporary on database freehold, postgres, template1 from public;
grant connect on database postgres to freehold_provisioner;
