use crate::config::DeviceChoice;
use crate::{Error, Result};

impl DeviceChoice {
    /// The device itself.
    ///
    /// # Errors
    /// If the CUDA device that is asked for is not there.
    pub fn resolve(self) -> Result<tch::Device> {
        let found = if tch::Cuda::is_available() {
            tch::Cuda::device_count()
        } else {
            0
        };
        match self {
            Self::Auto if found > 0 => Ok(tch::Device::Cuda(0)),
            Self::Auto | Self::Cpu => Ok(tch::Device::Cpu),
            Self::Cuda(index) if i64::try_from(index).is_ok_and(|index| index < found) => {
                Ok(tch::Device::Cuda(index))
            }
            Self::Cuda(index) => Err(Error::Config {
                layer: "this machine".into(),
                at: "device".into(),
                reason: format!("cuda:{index} was asked for, but libtorch sees {found} CUDA devices"),
                hint: Some(
                    "`device: auto` takes what there is; `daf-cli doctor` says what libtorch sees".into(),
                ),
            }),
        }
    }
}
