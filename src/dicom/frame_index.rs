//! frame_index
