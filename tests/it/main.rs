//! Tests of the whole program.

mod support;

mod db_connect;
mod db_schema;
mod private_server;
