//! sop_class
