//! From an image in a spec to an image on EC2.

use super::{AwsCall, AwsError, Clients, ErrorClass, Image};
use crate::validate::ImageRef;

/// Resolves an SSM parameter where one is given, and describes the image.
pub(super) async fn resolve(clients: &Clients, image: &ImageRef) -> Result<Image, AwsError> {
    let id = match image {
        ImageRef::Id(id) => id.clone(),
        ImageRef::SsmParameter(name) => parameter(clients, name).await?,
    };
    let request = clients.ec2.describe_images().image_ids(&id).send();
    let answer = clients.gate.send(AwsCall::DescribeImages, &id, request).await?;
    let found = answer
        .images()
        .first()
        .ok_or_else(|| not_found(AwsCall::DescribeImages, &id))?;
    let root_device = found.root_device_name().unwrap_or("/dev/sda1").to_owned();
    let min_size_gib = found
        .block_device_mappings()
        .iter()
        .filter(|mapping| mapping.device_name() == Some(root_device.as_str()))
        .find_map(|mapping| mapping.ebs()?.volume_size())
        .unwrap_or(1);
    Ok(Image {
        id,
        root_device,
        min_size_gib,
    })
}

async fn parameter(clients: &Clients, name: &str) -> Result<String, AwsError> {
    let request = clients.ssm.get_parameter().name(name).send();
    let answer = clients.gate.send(AwsCall::GetParameter, name, request).await?;
    answer
        .parameter
        .and_then(|parameter| parameter.value)
        .ok_or_else(|| not_found(AwsCall::GetParameter, name))
}

fn not_found(call: AwsCall, subject: &str) -> AwsError {
    AwsError {
        call,
        subject: subject.into(),
        class: ErrorClass::NotFound,
        code: "NotFound".into(),
        message: "AWS knows nothing of this name in this region and account".into(),
    }
}
