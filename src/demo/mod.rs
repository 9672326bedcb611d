//! temp
pub async fn fill(_a:std::net::SocketAddr,_t:&crate::dicom::ae_title::AeTitle)->anyhow::Result<String>{Ok(String::new())}
