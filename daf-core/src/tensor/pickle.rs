//! Tensors out of files that Python's `torch.save` wrote, without executing anything.
//!
//! libtorch's own reader knows TorchScript's dialect only: it takes the `OrderedDict` of a state dict for nothing. The
//! format is an uncompressed zip of a pickle and one file per storage. A pickle is a program for a small stack machine;
//! this one knows the few calls that make up a state dict and refuses all others by name. What it builds is shared where the
//! program names it again, and is about as large as the file at most.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::{Error, Result};

/// The named tensors of the file's dictionary; entries of other kinds are left out.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    tensors(&bytes).map_err(|reason| {
        let what = "damaged or not a file of tensors that Python's torch.save wrote";
        Error::checkpoint(path, format!("{what}: {reason}"))
    })
}

fn tensors(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, String> {
    let archive = Archive::open(bytes)?;
    let Value::Dict(entries) = Machine::new(&archive).run()? else {
        return Err("it holds no dictionary of tensors".into());
    };
    let entries = entries.borrow();
    let tensors = entries.iter();
    let tensors: Vec<_> = tensors
        .map(|(name, tensor)| (name.to_string(), tensor.shallow_clone()))
        .collect();
    if tensors.is_empty() {
        return Err("its dictionary holds no tensors".into());
    }
    Ok(tensors)
}

/// Takes bytes from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn at(bytes: &'a [u8], offset: usize) -> Result<Self, String> {
        bytes.get(offset..).map(Self).ok_or_else(cut_short)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A little-endian number of so many bytes.
    fn number(&mut self, bytes: usize) -> Result<usize, String> {
        let number = self
            .take(bytes)?
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | usize::from(*byte));
        Ok(number)
    }

    fn text(&mut self, length: usize) -> Result<String, String> {
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "a name in it is not UTF-8".into())
    }

    fn line(&mut self) -> Result<String, String> {
        let length = self
            .0
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(cut_short)?;
        let line = self.text(length)?;
        self.take(1)?;
        Ok(line)
    }
}

fn cut_short() -> String {
    "it is cut short".into()
}

/// The files of an uncompressed zip, by name without the top folder.
struct Archive<'a>(HashMap<String, &'a [u8]>);

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if !bytes.starts_with(b"PK\x03\x04") {
            return Err("it is not a zip archive (versions of torch before 1.6 wrote none)".into());
        }
        let end = bytes
            .windows(4)
            .rposition(|window| window == b"PK\x05\x06")
            .ok_or_else(cut_short)?;
        let mut directory = Cursor::at(bytes, end + 10)?;
        let (count, _, start) = (directory.number(2)?, directory.number(4)?, directory.number(4)?);
        let mut directory = Cursor::at(bytes, start)?;
        let mut files = HashMap::new();
        for _ in 0..count {
            if directory.take(10)?[..4] != *b"PK\x01\x02" {
                return Err("its list of files is damaged".into());
            }
            let method = directory.number(2)?;
            directory.take(8)?;
            let (size, _) = (directory.number(4)?, directory.number(4)?);
            let (name, extra, comment) = (directory.number(2)?, directory.number(2)?, directory.number(2)?);
            directory.take(8)?;
            let offset = directory.number(4)?;
            let name = directory.text(name)?;
            directory.take(extra + comment)?;
            if method != 0 {
                return Err(format!("`{name}` in it is compressed"));
            }
            let mut file = Cursor::at(bytes, offset)?;
            file.take(26)?;
            let (name_length, extra) = (file.number(2)?, file.number(2)?);
            file.take(name_length + extra)?;
            let (_, name) = name.split_once('/').unwrap_or(("", &name));
            files.insert(name.to_owned(), file.take(size)?);
        }
        Ok(Self(files))
    }

    fn file(&self, name: &str) -> Result<&'a [u8], String> {
        self.0
            .get(name)
            .copied()
            .ok_or_else(|| format!("there is no `{name}` in it"))
    }
}

/// The tensors of a dictionary by name.
type Entries = Vec<(Rc<str>, Rc<Tensor>)>;

#[derive(Clone)]
enum Value {
    None,
    Int(i64),
    Text(Rc<str>),
    /// A name of Python's: a function or class.
    Global(Rc<str>),
    Tuple(Rc<[Value]>),
    /// No tensor needs what is in a list.
    List,
    /// The tensors of a dictionary by name; its other entries are left out.
    Dict(Rc<RefCell<Entries>>),
    Storage(Kind, Rc<str>),
    Tensor(Rc<Tensor>),
    Mark,
}

impl Value {
    /// A tuple. What tensors need are tuples of numbers and of names, and one around them.
    fn tuple(values: Vec<Value>) -> Result<Self, String> {
        let is_tuple = |value: &Value| matches!(value, Value::Tuple(_));
        let inner = |value: &Value| matches!(value, Value::Tuple(inner) if inner.iter().any(is_tuple));
        if values.iter().any(inner) {
            return Err("it holds tuples of tuples of tuples, which no tensor needs".into());
        }
        Ok(Self::Tuple(values.into()))
    }
}

struct Machine<'a> {
    archive: &'a Archive<'a>,
    stack: Vec<Value>,
    memo: HashMap<usize, Value>,
    /// The numbers of a storage, by its kind and name.
    storages: HashMap<(Kind, Rc<str>), Tensor>,
    /// How many bytes of tensors may still be made.
    room: usize,
}

/// Tensors may share a storage, but not so often that they take up many times the file.
const TIMES: usize = 8;

impl<'a> Machine<'a> {
    fn new(archive: &'a Archive<'a>) -> Self {
        Self {
            archive,
            stack: Vec::new(),
            memo: HashMap::new(),
            storages: HashMap::new(),
            room: archive.0.values().map(|file| file.len()).sum::<usize>() * TIMES,
        }
    }

    fn run(mut self) -> Result<Value, String> {
        let mut code = Cursor(self.archive.file("data.pkl")?);
        loop {
            let value = match code.take(1)?[0] {
                b'.' => return self.pop(),
                // PROTO and FRAME
                0x80 => {
                    code.take(1)?;
                    continue;
                }
                0x95 => {
                    code.take(8)?;
                    continue;
                }
                b'(' => Value::Mark,
                b'N' => Value::None,
                0x88 => Value::Int(1),
                0x89 => Value::Int(0),
                b'K' => Value::Int(code.number(1)? as i64),
                b'M' => Value::Int(code.number(2)? as i64),
                b'J' => Value::Int(i64::from(code.number(4)? as u32 as i32)),
                0x8a => {
                    let length = code.number(1)?;
                    if length > 8 {
                        return Err("a number in it is too large".into());
                    }
                    // Two's complement: the last byte carries the sign.
                    let unused = 64 - 8 * length as u32;
                    let number = code.number(length)? as i64;
                    Value::Int(if length == 0 {
                        0
                    } else {
                        number << unused >> unused
                    })
                }
                b'G' => {
                    code.take(8)?;
                    Value::None
                }
                b'X' => {
                    let length = code.number(4)?;
                    Value::Text(code.text(length)?.into())
                }
                0x8c | b'U' => {
                    let length = code.number(1)?;
                    Value::Text(code.text(length)?.into())
                }
                b'c' => Value::Global(format!("{}.{}", code.line()?, code.line()?).into()),
                0x93 => match (self.pop()?, self.pop()?) {
                    (Value::Text(name), Value::Text(module)) => {
                        Value::Global(format!("{module}.{name}").into())
                    }
                    _ => return Err(damaged()),
                },
                b')' => Value::tuple(Vec::new())?,
                b']' => Value::List,
                b'}' => Value::Dict(Rc::default()),
                b't' => Value::tuple(self.pop_to_mark()?)?,
                count @ 0x85..=0x87 => {
                    let start = self.stack.len().checked_sub(usize::from(count - 0x84));
                    Value::tuple(self.stack.split_off(start.ok_or_else(damaged)?))?
                }
                b'q' => {
                    self.remember(code.number(1)?)?;
                    continue;
                }
                b'r' => {
                    self.remember(code.number(4)?)?;
                    continue;
                }
                0x94 => {
                    self.remember(self.memo.len())?;
                    continue;
                }
                b'h' => self.recall(code.number(1)?)?,
                b'j' => self.recall(code.number(4)?)?,
                b'a' => {
                    self.pop()?;
                    self.expect_list()?;
                    continue;
                }
                b'e' => {
                    self.pop_to_mark()?;
                    self.expect_list()?;
                    continue;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                    continue;
                }
                b'u' => {
                    let values = self.pop_to_mark()?;
                    self.set(values)?;
                    continue;
                }
                // The attributes of an object, such as `_metadata` of a state dict.
                b'b' => {
                    self.pop()?;
                    continue;
                }
                b'Q' => storage(self.pop()?)?,
                b'R' => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    match (function, arguments) {
                        (Value::Global(name), Value::Tuple(arguments)) => self.call(&name, &arguments)?,
                        _ => return Err(damaged()),
                    }
                }
                other => {
                    return Err(format!(
                        "its pickle has the instruction {other:#04x}, which no tensor needs"
                    ));
                }
            };
            self.stack.push(value);
        }
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(damaged)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let values = self.stack.split_off(mark.ok_or_else(damaged)? + 1);
        self.stack.pop();
        Ok(values)
    }

    fn remember(&mut self, place: usize) -> Result<(), String> {
        let value = self.stack.last().ok_or_else(damaged)?.clone();
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&self, place: usize) -> Result<Value, String> {
        self.memo.get(&place).cloned().ok_or_else(damaged)
    }

    fn expect_list(&self) -> Result<(), String> {
        match self.stack.last() {
            Some(Value::List) => Ok(()),
            _ => Err(damaged()),
        }
    }

    fn set(&self, values: Vec<Value>) -> Result<(), String> {
        let Some(Value::Dict(dict)) = self.stack.last() else {
            return Err(damaged());
        };
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            if let (Value::Text(name), Value::Tensor(tensor)) = (key, value) {
                dict.borrow_mut().push((name, tensor));
            }
        }
        Ok(())
    }

    fn call(&mut self, function: &str, arguments: &[Value]) -> Result<Value, String> {
        match (function, arguments) {
            ("collections.OrderedDict", []) => Ok(Value::Dict(Rc::default())),
            ("torch._utils._rebuild_parameter", [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
            (
                "torch._utils._rebuild_tensor_v2",
                [
                    Value::Storage(kind, key),
                    Value::Int(offset),
                    Value::Tuple(size),
                    Value::Tuple(stride),
                    ..,
                ],
            ) => {
                let tensor = self.tensor(*kind, key, *offset, &whole(size)?, &whole(stride)?)?;
                Ok(Value::Tensor(Rc::new(tensor)))
            }
            _ => Err(format!(
                "it wants `{function}` to be called, which no tensor needs; nothing was executed"
            )),
        }
    }

    fn tensor(
        &mut self,
        kind: Kind,
        key: &Rc<str>,
        offset: i64,
        size: &[i64],
        stride: &[i64],
    ) -> Result<Tensor, String> {
        let bytes = self.archive.file(&format!("data/{key}"))?;
        let length = (bytes.len() / kind.elt_size_in_bytes()) as i64;
        // The place of the last element; none of the numbers may be negative.
        let last = size.iter().zip(stride).try_fold(offset, |at, (n, step)| {
            n.max(&1).checked_sub(1)?.checked_mul(*step)?.checked_add(at)
        });
        // Strides of zero repeat elements: what is read must not become larger than what is there.
        let count = size.iter().try_fold(1i64, |count, n| count.checked_mul(*n));
        let negative = size.iter().chain(stride).any(|n| *n < 0) || offset < 0;
        let fits = last.is_some_and(|last| last < length || size.contains(&0))
            && count.is_some_and(|count| count <= length);
        if negative || !fits || size.len() != stride.len() {
            return Err(format!("a tensor in it reaches beyond its storage `{key}`"));
        }
        let taken = count.unwrap_or(0) as usize * kind.elt_size_in_bytes();
        self.room = self
            .room
            .checked_sub(taken)
            .ok_or_else(|| format!("its tensors take up more than {TIMES} times the file"))?;
        let refused = |error: tch::TchError| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        };
        let whole = match self.storages.entry((kind, Rc::clone(key))) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let bytes = &bytes[..length as usize * kind.elt_size_in_bytes()];
                entry.insert(Tensor::f_from_data_size(bytes, &[length], kind).map_err(refused)?)
            }
        };
        let part = whole.f_as_strided(size, stride, offset).map_err(refused)?;
        Ok(part.contiguous().copy())
    }
}

fn damaged() -> String {
    "its pickle is damaged".into()
}

fn whole(numbers: &[Value]) -> Result<Vec<i64>, String> {
    let number = |value: &Value| match value {
        Value::Int(number) => Ok(*number),
        _ => Err(damaged()),
    };
    numbers.iter().map(number).collect()
}

/// The storage that a persistent id names: ('storage', class, key, device, length).
fn storage(id: Value) -> Result<Value, String> {
    let Value::Tuple(id) = id else {
        return Err(damaged());
    };
    let [Value::Text(word), Value::Global(class), Value::Text(key), ..] = &id[..] else {
        return Err(damaged());
    };
    let kind = match &**class {
        "torch.FloatStorage" => Kind::Float,
        "torch.DoubleStorage" => Kind::Double,
        "torch.HalfStorage" => Kind::Half,
        "torch.BFloat16Storage" => Kind::BFloat16,
        "torch.LongStorage" => Kind::Int64,
        "torch.IntStorage" => Kind::Int,
        "torch.ShortStorage" => Kind::Int16,
        "torch.CharStorage" => Kind::Int8,
        "torch.ByteStorage" => Kind::Uint8,
        "torch.BoolStorage" => Kind::Bool,
        other => return Err(format!("it holds numbers of the unknown class `{other}`")),
    };
    if &**word != "storage" {
        return Err(damaged());
    }
    Ok(Value::Storage(kind, Rc::clone(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &[u8], storage: &[u8]) -> Result<Value, String> {
        let files = [("data.pkl", code), ("data/0", storage)];
        let archive = Archive(files.map(|(name, file)| (name.to_owned(), file)).into());
        Machine::new(&archive).run()
    }

    /// A call for all of a storage of so many float32.
    fn tensor(count: u32) -> Vec<u8> {
        [
            &b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x02tQK\x00J"[..],
            &count.to_le_bytes()[..],
            &b"\x85K\x01\x85tR"[..],
        ]
        .concat()
    }

    #[test]
    fn what_a_small_pickle_builds_stays_small() {
        // A tuple of the last one twice, again and again.
        let doubling = [&b"N\x85q\0"[..], &b"h\0h\0\x86q\0".repeat(60), b"."].concat();
        assert!(run(&doubling, b"").err().unwrap().contains("tuples of tuples"));
        assert!(run(&[&b"N"[..], &b"\x85".repeat(1_000_000), b"."].concat(), b"").is_err());
        // Lists and dictionaries within each other.
        let lists = [b"]".repeat(1_000_000), b"a".repeat(999_999), b".".to_vec()].concat();
        assert!(matches!(run(&lists, b""), Ok(Value::List)));
        let keyed = [
            b"}N".repeat(100_000),
            b"}".to_vec(),
            b"s".repeat(100_000),
            b".".to_vec(),
        ]
        .concat();
        assert!(matches!(run(&keyed, b""), Ok(Value::Dict(_))));
        // A text of a megabyte, named a million times.
        let text = [
            b"X\0\0\x10\0".to_vec(),
            vec![b'a'; 1 << 20],
            b"q\0".to_vec(),
            b"h\0".repeat(1_000_000),
            b".".to_vec(),
        ];
        assert!(matches!(run(&text.concat(), b""), Ok(Value::Text(_))));
    }

    #[test]
    fn tensors_may_share_a_storage_but_not_without_end() {
        let storage: Vec<u8> = (0..1u32 << 18).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let shared = |times: usize| run(&[tensor(1 << 18).repeat(times), b".".to_vec()].concat(), &storage);
        let Ok(Value::Tensor(last)) = shared(TIMES) else {
            panic!("no tensor");
        };
        assert_eq!(last.double_value(&[77_777]), 77_777.0);
        assert!(shared(1000).err().unwrap().contains("more than 8 times the file"));
    }
}
