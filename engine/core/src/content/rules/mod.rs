//! The filter that asks rules about requests and responses, and does as they say.

mod content_watch;
mod filter;
mod http1;
mod http1_answer;
mod http1_body;
mod http1_edit;
mod http1_inspected;
mod http2;
mod http2_body;
mod http2_control;
mod http2_edit;
mod http2_encoder;
mod http2_exchanges;
mod http2_inspected;
mod http2_message;
mod http2_output;
mod http2_server_windows;
mod http2_streams;
#[cfg(test)]
mod http2_tests;
mod http2_upload;
mod http2_uploads;
mod http2_windows;
mod http2_writer;
mod inspection;
mod judge;
mod judge_inspection;
mod lane;
mod octets;
mod streamed;
mod type_watch;

pub use filter::RuleFilters;
