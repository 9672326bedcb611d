//! Every address in one table: the method, the path, what is asked of the caller, and what answers.
//!
//! Around all of them, from the outside in: security headers, errors as pages, and the guard of `access`. Each has the
//! admission of `access` around it, so an address cannot be in the table without saying who may ask for it.

use std::sync::LazyLock;

use actix_web::dev::{HttpServiceFactory, ResourceDef, ServiceRequest};
use actix_web::http::{Method, header};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{ServiceConfig, resource, scope};
use actix_web::{HttpRequest, HttpResponse, Resource, guard, web};

use super::access::Needs::{Anybody, Enrolling, Files, Nothing, Person, Right as May};
use super::access::{self, Needs};
use super::dicomweb::{qido, rendered, stow, wado, wado_uri};
use super::{
    account, assets, association, audit, error, events, grant, group, health, hsts, instance, job, launch,
    ohif, page, patient, peer, picture, quarantine, remote, role, rules, send, share, sign_in, study, system,
    upload, user, viewer,
};
use crate::db::role::Right::{Administer, Download, Edit, QueryRemote, Send, Share, Upload, View};

/// What a page may load: our own files and nothing else, so that a hostile name in a data set stays text.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    img-src 'self'; \
    style-src 'self'; \
    script-src 'self'; \
    connect-src 'self'; \
    media-src 'self'; \
    form-action 'self'; \
    frame-ancestors 'none'; \
    base-uri 'none'";

/// An address.
#[derive(Debug, Clone)]
pub struct Route {
    /// GET also answers HEAD.
    pub method: Method,
    /// With `{names}` for what differs.
    pub path: &'static str,
    /// What is asked of the caller.
    pub needs: Needs,
}

macro_rules! routes {
    ($($method:ident $path:literal $needs:expr => $handler:expr;)+) => {
        /// Every address there is.
        pub fn table() -> Vec<Route> {
            vec![$(Route { method: Method::$method, path: $path, needs: $needs }),+]
        }

        fn pages(config: &mut ServiceConfig) {
            $(config.service(admitted(Method::$method, $needs, resource($path).to($handler)));)+
        }
    };
}

// `{instance}.dcm` stands before `{instance}`, which would take it.
routes! {
    GET  "/"                                           May(View)       => study::home;
    GET  "/studies"                                    May(View)       => study::list;
    GET  "/studies/{study}"                            May(View)       => study::show;
    GET  "/studies/{study}/access"                     May(Administer) => grant::show;
    POST "/studies/{study}/access"                     May(Administer) => grant::give;
    GET  "/studies/{study}/thumbnail.png"              May(View)       => picture::study_thumbnail;
    GET  "/studies/{study}/viewer"                     May(View)       => viewer::show;
    GET  "/studies/{study}/viewer/stack.json"          May(View)       => viewer::stack;
    GET  "/series/{series}/thumbnail.png"              May(View)       => picture::series_thumbnail;
    GET  "/instances/{instance}.dcm"                   May(Download)   => instance::download;
    GET  "/instances/{instance}/document"              May(Download)   => instance::document;
    GET  "/instances/{instance}"                       May(View)       => instance::show;
    GET  "/instances/{instance}/frames/{frame}.png"    May(View)       => picture::frame;
    GET  "/instances/{instance}/frames/{frame}/caption.json" May(View) => viewer::frame_caption;
    GET  "/studies/{study}/audit"                      May(Administer) => audit::of_study;
    GET  "/patients/{patient_key}"                     May(View)       => patient::show;
    GET  "/events"                                     May(View)       => events::stream;

    GET  "/dicom-web/studies"                          May(View)       => qido::studies;
    POST "/dicom-web/studies"                          Files(Upload)   => stow::store;
    POST "/dicom-web/studies/{study}"                  Files(Upload)   => stow::store;
    GET  "/dicom-web/series"                           May(View)       => qido::series;
    GET  "/dicom-web/instances"                        May(View)       => qido::instances;
    GET  "/dicom-web/studies/{study}/series"           May(View)       => qido::series;
    GET  "/dicom-web/studies/{study}/instances"        May(View)       => qido::instances;
    GET  "/dicom-web/studies/{study}/series/{series}/instances" May(View) => qido::instances;
    GET  "/dicom-web/studies/{study}"                  May(Download)   => wado::instances;
    GET  "/dicom-web/studies/{study}/series/{series}"  May(Download)   => wado::instances;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}" May(Download) => wado::instances;
    GET  "/dicom-web/studies/{study}/metadata"         May(View)       => wado::metadata::get;
    GET  "/dicom-web/studies/{study}/series/{series}/metadata" May(View) => wado::metadata::get;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/metadata" May(View) => wado::metadata::get;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}" May(View) => wado::frames::get;
    GET  "/dicom-web/studies/{study}/pixeldata"        May(View)       => wado::frames::pixel_data;
    GET  "/dicom-web/studies/{study}/series/{series}/pixeldata" May(View) => wado::frames::pixel_data;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/pixeldata" May(View) => wado::frames::pixel_data;
    GET  "/dicom-web/studies/{study}/bulkdata"         May(Download)   => wado::bulkdata::all;
    GET  "/dicom-web/studies/{study}/series/{series}/bulkdata" May(Download) => wado::bulkdata::all;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata" May(Download) => wado::bulkdata::all;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:.+}" May(View) => wado::bulkdata::get;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered" May(View) => rendered::instance;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered" May(View) => rendered::frames;
    GET  "/dicom-web/studies/{study}/rendered"         May(View)       => rendered::several;
    GET  "/dicom-web/studies/{study}/series/{series}/rendered" May(View) => rendered::several;
    GET  "/dicom-web/studies/{study}/thumbnail"        May(View)       => rendered::thumbnail;
    GET  "/dicom-web/studies/{study}/series/{series}/thumbnail" May(View) => rendered::thumbnail;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/thumbnail" May(View) => rendered::thumbnail;
    GET  "/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frame}/thumbnail" May(View) => rendered::frame_thumbnail;
    GET  "/wado"                                       May(View)       => wado_uri::get;

    GET  "/ohif"                                       May(View)       => ohif::home;
    GET  "/ohif/{name:.*}"                             May(View)       => ohif::get;

    GET  "/login"                                      Anybody         => sign_in::show;
    POST "/login"                                      Anybody         => sign_in::sign_in;
    POST "/logout"                                     Anybody         => sign_in::sign_out;
    GET  "/setup"                                      Anybody         => sign_in::show_set_up;
    POST "/setup"                                      Anybody         => sign_in::set_up;
    POST "/theme"                                      Anybody         => page::set_theme;

    GET  "/account"                                    Person          => account::show;
    POST "/account/password"                           Person          => account::set_password;
    GET  "/account/second-factor"                      Enrolling       => account::second_factor::show;
    POST "/account/second-factor"                      Enrolling       => account::second_factor::set_up;
    POST "/account/second-factor/remove"               Person          => account::second_factor::remove;
    POST "/account/recovery-codes"                     Person          => account::second_factor::renew_codes;
    POST "/account/sessions/end-others"                Person          => account::session::end_others;
    POST "/account/sessions/{session_key}/end"         Person          => account::session::end;
    POST "/account/tokens"                             Person          => account::token::add;
    POST "/account/tokens/{token_key}/remove"          Person          => account::token::remove;

    GET  "/send"                                       May(Send)       => send::show;
    POST "/send"                                       May(Send)       => send::send;
    GET  "/upload"                                     May(Upload)     => upload::show;
    POST "/upload"                                     Files(Upload)   => upload::take;
    GET  "/upload/pieces/{upload}"                     May(Upload)     => upload::pieces::show;
    POST "/upload/pieces/{upload}"                     Files(Upload)   => upload::pieces::take;
    GET  "/remote"                                     May(QueryRemote) => remote::show;
    POST "/remote/retrieve"                            May(QueryRemote) => remote::retrieve;
    GET  "/jobs"                                       Person          => job::list;
    GET  "/jobs/{job_key}"                             Person          => job::show;
    POST "/jobs/{job_key}/cancel"                      Person          => job::cancel;
    POST "/jobs/{job_key}/try-again"                   Person          => job::try_again;

    GET  "/studies/{study}/shares"                     May(Share)      => share::list;
    POST "/studies/{study}/shares"                     May(Share)      => share::add;
    POST "/studies/{study}/weasis"                     May(Download)   => launch::weasis;
    GET  "/shares"                                     May(Share)      => share::mine;
    POST "/shares/{share_key}/revoke"                  May(Share)      => share::revoke;
    GET  "/share/{link}"                               Anybody         => share::visit::ask;
    POST "/share/{link}"                               Anybody         => share::visit::open;

    GET  "/admin"                                      Person          => peer::home;
    GET  "/admin/users"                                May(Administer) => user::list;
    POST "/admin/users"                                May(Administer) => user::add;
    GET  "/admin/users/{user_key}"                     May(Administer) => user::edit;
    POST "/admin/users/{user_key}"                     May(Administer) => user::change;
    POST "/admin/users/{user_key}/password"            May(Administer) => user::set_password;
    POST "/admin/users/{user_key}/disable"             May(Administer) => user::disable;
    POST "/admin/users/{user_key}/enable"              May(Administer) => user::enable;
    POST "/admin/users/{user_key}/remove-second-factor" May(Administer) => user::remove_second_factor;
    GET  "/admin/groups"                               May(Administer) => group::list;
    POST "/admin/groups"                               May(Administer) => group::add;
    GET  "/admin/groups/{group_key}"                   May(Administer) => group::edit;
    POST "/admin/groups/{group_key}"                   May(Administer) => group::change;
    GET  "/admin/groups/{group_key}/remove"            May(Administer) => group::ask_to_remove;
    POST "/admin/groups/{group_key}/remove"            May(Administer) => group::remove;
    POST "/admin/grants/{grant_key}/take-back"         May(Administer) => grant::take_back;
    GET  "/admin/roles"                                May(Administer) => role::show;
    POST "/admin/roles"                                May(Administer) => role::change;
    GET  "/admin/sign-in"                              May(Administer) => rules::show;
    POST "/admin/sign-in"                              May(Administer) => rules::change;
    GET  "/admin/peers"                                May(Administer) => peer::list;
    POST "/admin/peers"                                May(Administer) => peer::add;
    GET  "/admin/peers/{peer_key}"                     May(Administer) => peer::edit;
    POST "/admin/peers/{peer_key}"                     May(Administer) => peer::change;
    GET  "/admin/peers/{peer_key}/remove"              May(Administer) => peer::ask_to_remove;
    POST "/admin/peers/{peer_key}/remove"              May(Administer) => peer::remove;
    POST "/admin/peers/{peer_key}/echo"                May(Administer) => peer::echo::ask;
    POST "/admin/callers/allow"                        May(Administer) => peer::refused::allow;
    POST "/admin/callers/forget"                       May(Administer) => peer::refused::forget;
    GET  "/admin/associations/events"                  May(Administer) => association::events;
    POST "/admin/associations/{association}/abort"     May(Administer) => association::abort;
    GET  "/admin/audit"                                May(Administer) => audit::list;
    GET  "/admin/audit.csv"                            May(Administer) => audit::file;
    GET  "/admin/system"                               May(Administer) => system::show;
    GET  "/admin/quarantine"                           May(Edit)       => quarantine::list;
    GET  "/admin/quarantine/{quarantine_key}"          May(Edit)       => quarantine::show;
    GET  "/admin/quarantine/{quarantine_key}/discard"  May(Edit)       => quarantine::ask_to_discard;
    POST "/admin/quarantine/{quarantine_key}/discard"  May(Edit)       => quarantine::discard;
    GET  "/quarantine/{key}.dcm"                       May(Edit)       => instance::download_quarantined;
    GET  "/quarantine/{key}/attributes"                May(Edit)       => instance::show_quarantined;
    GET  "/quarantine/{key}/frames/{frame}.png"        May(Edit)       => picture::quarantined_frame;

    GET  "/healthz"                                    Nothing         => health::alive;
    GET  "/readyz"                                     Nothing         => health::ready;
    GET  "/static/{name:.+}"                           Nothing         => assets::get;
}

/// All of HTTP. The application needs `web::Data<App>` beside it.
pub fn configure(config: &mut ServiceConfig) {
    config.service(
        scope("")
            .wrap(from_fn(access::guard))
            .wrap(from_fn(error::render))
            .wrap(headers())
            .wrap(from_fn(hsts::add))
            .configure(pages)
            .default_service(web::to(nothing_here)),
    );
}

fn admitted(method: Method, needs: Needs, resource: Resource) -> impl HttpServiceFactory + 'static {
    let resource = match method {
        Method::GET => resource.guard(guard::Any(guard::Get()).or(guard::Head())),
        method => resource.guard(guard::Method(method)),
    };
    resource.wrap(from_fn(move |request: ServiceRequest, next: Next<_>| access::admit(needs, request, next)))
}

/// PS3.15 asks for none of this; browsers do. What says nothing of being kept, is not kept.
fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("Content-Security-Policy", CONTENT_SECURITY_POLICY))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "no-referrer"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Cross-Origin-Resource-Policy", "same-origin"))
        .add(("Cache-Control", "no-store"))
}

/// What may be done at each address.
static METHODS: LazyLock<Vec<(ResourceDef, Method)>> =
    LazyLock::new(|| table().into_iter().map(|route| (ResourceDef::new(route.path), route.method)).collect());

/// No address is like this, or it is asked for something else than it does. To OPTIONS everybody is answered, and no other
/// site's page is let in by that.
async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, error::Error> {
    let path = request.path();
    let mut methods: Vec<&str> = Vec::new();
    for (_, method) in METHODS.iter().filter(|(address, _)| address.is_match(path)) {
        match *method {
            Method::GET => methods.extend(["GET", "HEAD"]),
            ref method => methods.push(method.as_str()),
        }
    }
    methods.sort_unstable();
    methods.dedup();
    if methods.is_empty() {
        return Err(error::Error::NotFound);
    }
    let mut response = match *request.method() {
        Method::OPTIONS => HttpResponse::NoContent(),
        _ => HttpResponse::MethodNotAllowed(),
    };
    response.insert_header((header::ALLOW, methods.join(", ")));
    Ok(match *request.method() {
        Method::OPTIONS => response.finish(),
        ref method => response
            .content_type("text/plain; charset=utf-8")
            .body(format!("{method} is not done at this address, but {}.", methods.join(" and "))),
    })
}
