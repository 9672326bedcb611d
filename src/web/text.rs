//! How values read on a page: names, dates, sizes, UIDs. Pure.
