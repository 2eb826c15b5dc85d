//! A minimal SMTP server that takes mails for anybody and puts them into the mailbox.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::mailbox::Mailbox;

const MAX_LINE: u64 = 2000; // bytes of a command or of a line of a mail
const MAX_MAIL: usize = 256 * 1024; // bytes
const MAX_RECIPIENTS: usize = 10;
const MAX_SESSIONS: usize = 64;
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Takes mails until `stop`.
pub async fn serve(listener: TcpListener, mailbox: Mailbox, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_SESSIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("the mailbox cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (mailbox, stop, room) = (mailbox.clone(), stop.clone(), Arc::clone(&room));
        tokio::spawn(async move {
            let Ok(_place) = room.try_acquire() else {
                tracing::warn!("the mailbox has {MAX_SESSIONS} sessions; another one is turned away");
                return;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                ended = session(stream, mailbox) => if let Err(error) = ended {
                    tracing::debug!("a session with the mailbox broke: {error}");
                },
            }
        });
    }
}

async fn session(mut stream: TcpStream, mailbox: Mailbox) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.split();
    let mut session = Session { reader: BufReader::new(reader), writer, mailbox, mail: None };
    session.reply("220 mailbox.orbitmq ready").await?;
    while let Some(line) = session.line().await? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !session.command(&line).await? {
            break;
        }
    }
    Ok(())
}

struct Session<'a> {
    reader: BufReader<ReadHalf<'a>>,
    writer: WriteHalf<'a>,
    mailbox: Mailbox,
    /// The recipients of the mail that MAIL FROM opened.
    mail: Option<Vec<String>>,
}

impl Session<'_> {
    /// Obeys one command; false ends the session.
    async fn command(&mut self, line: &str) -> io::Result<bool> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let reply = match verb.to_ascii_uppercase().as_str() {
            "HELO" => "250 mailbox.orbitmq",
            "EHLO" => &*format!("250-mailbox.orbitmq\r\n250-8BITMIME\r\n250 SIZE {MAX_MAIL}"),
            "MAIL" => {
                self.mail = Some(Vec::new());
                "250 sender accepted"
            }
            "RCPT" => self.recipient(rest),
            "DATA" => return self.data().await.map(|()| true),
            "RSET" => {
                self.mail = None;
                "250 forgotten"
            }
            "NOOP" => "250 nothing done",
            "QUIT" => {
                self.reply("221 good bye").await?;
                return Ok(false);
            }
            _ => "502 this mailbox knows HELO, EHLO, MAIL, RCPT, DATA, RSET, NOOP and QUIT",
        };
        self.reply(reply).await?;
        Ok(true)
    }

    /// Anybody lives here, except in the domain that never exists (RFC 2606).
    fn recipient(&mut self, argument: &str) -> &'static str {
        let Some(recipients) = &mut self.mail else { return "503 MAIL comes before RCPT" };
        let address = argument.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address);
        match address {
            None | Some("") => "501 say RCPT TO:<name@example.org>",
            Some(address) if address.to_ascii_lowercase().ends_with(".invalid") => "550 nobody lives in .invalid",
            Some(_) if recipients.len() >= MAX_RECIPIENTS => "452 too many recipients",
            Some(address) => {
                recipients.push(address.to_owned());
                "250 recipient accepted"
            }
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        let recipients = match self.mail.take() {
            Some(recipients) if !recipients.is_empty() => recipients,
            _ => return self.reply("503 MAIL and RCPT come before DATA").await,
        };
        self.reply("354 the mail, then a line with a single dot").await?;
        let mut mail = Vec::new();
        let mut fits = true;
        loop {
            let Some(line) = self.line().await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            if line == b".\r\n" || line == b".\n" {
                break;
            }
            let line = line.strip_prefix(b".").unwrap_or(&line);
            fits = fits && mail.len() + line.len() <= MAX_MAIL;
            if fits {
                mail.extend_from_slice(line);
            }
        }
        if !fits {
            return self.reply("552 the mail is longer than this mailbox takes").await;
        }
        match self.mailbox.keep(recipients, mail).await {
            Ok(()) => self.reply("250 the mail is kept").await,
            Err(error) => {
                tracing::warn!("a mail could not be kept: {error}");
                self.reply("451 the mail could not be written; try again").await
            }
        }
    }

    /// The next line with its end; none when the peer has left.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        // Clients write a mail and its end apart; with a delayed acknowledgement the end would come 40 ms later.
        #[cfg(target_os = "linux")]
        self.reader.get_ref().as_ref().set_quickack(true)?;
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(MAX_LINE);
        tokio::time::timeout(MAX_IDLE, limited.read_until(b'\n', &mut line)).await??;
        match line.last() {
            Some(b'\n') => Ok(Some(line)),
            None => Ok(None),
            Some(_) => {
                self.reply("500 the line is too long or cut").await?;
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    async fn reply(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(format!("{text}\r\n").as_bytes()).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::{MAX_MAIL, serve};
    use crate::mailbox::Mailbox;

    /// Says everything at once and returns the codes of the replies.
    async fn talk(text: &[u8]) -> (Vec<String>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::open(&dir.path().join("mailbox.db")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, mailbox.clone(), CancellationToken::new()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let mut replies = String::new();
        let say = async {
            _ = writer.write_all(text).await; // the server may hang up first
            _ = writer.shutdown().await;
        };
        let (read, ()) = tokio::join!(reader.read_to_string(&mut replies), say);
        _ = read; // a reset after an early end is an end too
        let codes = replies.lines().map(|line| line.chars().take(3).collect()).collect();
        (codes, mailbox.newest(10).await.unwrap().len())
    }

    #[tokio::test]
    async fn keeps_a_mail() {
        let text = b"EHLO me\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nMessage-ID: <1@x>\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
        let (codes, mails) = talk(text).await;
        assert_eq!(codes, ["220", "250", "250", "250", "250", "250", "354", "250", "221"]);
        assert_eq!(mails, 1);
    }

    #[tokio::test]
    async fn answers_nonsense() {
        let text =
            b"\xff\xfe\r\nDATA\r\nRCPT TO:<a@b>\r\nMAIL FROM:<>\r\nRCPT TO:\r\nRCPT TO:<a@b.invalid>\r\nDATA\r\n";
        let (codes, mails) = talk(text).await;
        assert_eq!(codes, ["220", "502", "503", "503", "250", "501", "550", "503"]);
        assert_eq!(mails, 0);
    }

    #[tokio::test]
    async fn bounds_lines_and_mails() {
        let (codes, _) = talk(&[b'x'; 5000]).await;
        assert_eq!(codes.last().map(String::as_str), Some("500"));
        let mut text = b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n".to_vec();
        text.extend(b"0123456789\r\n".repeat(MAX_MAIL / 12 + 1));
        text.extend(b".\r\n");
        let (codes, mails) = talk(&text).await;
        assert_eq!((codes.last().map(String::as_str), mails), (Some("552"), 0));
    }

    #[tokio::test]
    async fn forgets_a_mail_that_is_cut() {
        let (_, mails) = talk(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nhalf a mai").await;
        assert_eq!(mails, 0);
    }
}
