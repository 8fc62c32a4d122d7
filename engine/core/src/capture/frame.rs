//! A buffer of a capture as a frame that can be written.

use bytes::Bytes;

use crate::port::Frame;

/// An empty one, of which so many bytes are used.
pub(crate) struct BufferFrame {
    pub(super) buffer: Box<[u8]>,
    pub(super) len: usize,
}

impl Frame for BufferFrame {
    type Slice = Bytes;
    type Block = Vec<u8>;

    fn data(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    fn len(&self) -> usize {
        self.len
    }

    fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= self.buffer.len();
        self.len = if fits { len } else { 0 };
        fits
    }
}
