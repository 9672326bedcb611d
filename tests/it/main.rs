//! Tests of the whole program.

mod dimse_scu;
