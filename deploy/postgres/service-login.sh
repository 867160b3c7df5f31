#!/bin/sh
# Run once by the image, when it makes the database: the login that the parts use. `kinledger migrate` gives it their roles.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$SERVICE_PASSWORD" <<'SQL'
create role kinledger_service login noinherit password :'password';
SQL
