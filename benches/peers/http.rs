//! GET over one kept connection, as a browser would, with nothing between the clock and the socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::server::Server;

/// A connection.
pub struct Http {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
    /// What is sent with each request of somebody who is signed in.
    cookie: String,
}

/// A response and how long it took, from the first byte of the request to the last of the answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub elapsed: Duration,
    /// Until the answer began: the server's time, however long the body is.
    pub began: Duration,
}

impl Http {
    /// Connects to a server, as its administrator where it has people.
    pub fn to(server: &Server) -> io::Result<Http> {
        Http::signed_in(server.http, server.session.as_deref())
    }

    /// Connects as whoever has this session.
    pub fn signed_in(host: SocketAddr, session: Option<&str>) -> io::Result<Http> {
        let cookie = session.map(|session| format!("Cookie: __Host-session={session}\r\n"));
        Http::connect(host, cookie.unwrap_or_default())
    }

    fn connect(host: SocketAddr, cookie: String) -> io::Result<Http> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Http { stream: BufReader::with_capacity(256 * 1024, stream), host, cookie })
    }

    /// `GET`, with the media type wanted.
    pub fn get(&mut self, address: &str, accept: &str) -> io::Result<Answer> {
        let (host, cookie) = (self.host, &self.cookie);
        let request = format!("GET {address} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n{cookie}\r\n");
        let start = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer(start)
    }

    fn answer(&mut self, start: Instant) -> io::Result<Answer> {
        let first = self.line()?;
        let began = start.elapsed();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (mut length, mut is_chunked, mut closes) = (None, false, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                None => break,
                Some(("content-length", value)) => length = value.trim().parse().ok(),
                Some(("transfer-encoding", value)) => is_chunked = value.contains("chunked"),
                Some(("connection", value)) => closes = value.contains("close"),
                Some(_) => {}
            }
        }
        let mut body = Vec::new();
        if is_chunked {
            while let Some(chunk) = usize::from_str_radix(&self.line()?, 16).ok().filter(|&chunk| chunk > 0) {
                self.read(chunk, &mut body)?;
                self.line()?;
            }
            self.line()?;
        } else if let Some(length) = length {
            self.read(length, &mut body)?;
        } else if closes {
            self.stream.read_to_end(&mut body)?;
        }
        let elapsed = start.elapsed();
        if closes {
            *self = Http::connect(self.host, self.cookie.clone())?;
        }
        Ok(Answer { status, body, elapsed, began })
    }

    /// `GET` of something that has to be there.
    pub fn get_ok(&mut self, address: &str, accept: &str) -> io::Result<Answer> {
        let answer = self.get(address, accept)?;
        match answer.status {
            200 => Ok(answer),
            status => {
                let text: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
                Err(io::Error::other(format!("{address}: {status} {text}")))
            }
        }
    }

    /// `POST` of a body in parts; the status and the body of the answer.
    pub fn post(&mut self, address: &str, kind: &str, body: &[&[u8]]) -> io::Result<Answer> {
        let (host, cookie) = (self.host, &self.cookie);
        let length: usize = body.iter().map(|part| part.len()).sum();
        let head = format!(
            "POST {address} HTTP/1.1\r\nHost: {host}\r\nAccept: application/dicom+json\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n{cookie}\r\n"
        );
        let start = Instant::now();
        self.stream.get_mut().write_all(head.as_bytes())?;
        for part in body {
            self.stream.get_mut().write_all(part)?;
        }
        self.answer(start)
    }

    /// `PUT` of something that has to be taken.
    pub fn put(&mut self, address: &str, body: &str) -> io::Result<()> {
        let (host, length) = (self.host, body.len());
        let request =
            format!("PUT {address} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let first = self.line()?;
        match first.split(' ').nth(1) {
            Some("200") => Ok(()),
            _ => Err(io::Error::other(format!("{address}: {first}"))),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn read(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        self.stream.read_exact(&mut body[start..])
    }
}
