//! ae_title
