//! Who came by HTTPS once is to come by HTTPS for a year: Strict-Transport-Security, RFC 6797.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use actix_web::middleware::Next;
use actix_web::web;

use super::App;

const A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Middleware around everything else. Over plain HTTP the header means nothing, so it is not sent.
pub async fn add(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let transport = request.app_data::<web::Data<App>>().map(|app| &app.transport);
    let is_https = transport.is_some_and(|transport| transport.client(request.request()).scheme == "https");
    let mut response = next.call(request).await?;
    if is_https {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, A_YEAR);
    }
    Ok(response)
}
