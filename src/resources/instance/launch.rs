//! The request that launches machines: a function of what was written down, so that a repetition is the same.

use std::{borrow::Cow, io::Write as _};

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification,
    InstanceMetadataOptionsRequest, InstanceMetadataTagsState, InstanceNetworkInterfaceSpecification, ResourceType,
    ShutdownBehavior,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::{Compression, write::GzEncoder};

use super::list::from_sdk;
use crate::{
    api::{Launch, VolumeType},
    aws::{AwsCall, AwsError, Clients, ErrorClass},
    bootstrap,
    resources::Answer,
};

/// Sends the one request of a launch.
///
/// # Errors
/// What AWS answered, with its class.
pub(super) async fn run(
    clients: &Clients,
    subject: &str,
    launch: &Launch,
    token: &str,
    user_data: &str,
) -> Result<Answer, AwsError> {
    let count = i32::try_from(launch.count).unwrap_or(i32::MAX);
    let disk = EbsBlockDevice::builder()
        .volume_size(launch.root_volume.size_gib)
        .volume_type(match launch.root_volume.volume_type {
            VolumeType::Gp3 => aws_sdk_ec2::types::VolumeType::Gp3,
            VolumeType::Gp2 => aws_sdk_ec2::types::VolumeType::Gp2,
        })
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    // Part of the launch, not made beforehand: EC2 gives no public address to an interface that existed before.
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&launch.subnet_id)
        .set_groups(Some(launch.security_group_ids.clone()))
        .set_private_ip_address(launch.private_address.clone())
        .associate_public_ip_address(launch.public_address)
        .delete_on_termination(true)
        .build();
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        // EC2 refuses tag keys with a `/` when metadata shows tags.
        .instance_metadata_tags(InstanceMetadataTagsState::Disabled)
        .build();
    let profile = launch
        .iam_instance_profile
        .as_ref()
        .map(|name| IamInstanceProfileSpecification::builder().name(name).build());
    let tagged = [
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ];
    let request = clients
        .ec2
        .run_instances()
        .client_token(token)
        .min_count(1)
        .max_count(count)
        .instance_type(launch.instance_type.as_str().into())
        .image_id(&launch.image_id)
        .set_key_name(launch.key_name.clone())
        .set_iam_instance_profile(profile)
        .user_data(BASE64_STANDARD.encode(packed(user_data)))
        .block_device_mappings(
            BlockDeviceMapping::builder()
                .device_name(&launch.root_device)
                .ebs(disk)
                .build(),
        )
        .network_interfaces(interface)
        .metadata_options(metadata)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Stop)
        .set_tag_specifications(Some(
            tagged.map(|kind| clients.tag_specification(kind, &launch.tags)).into(),
        ))
        .send();
    match Box::pin(clients.gate.send(AwsCall::RunInstances, subject, request)).await {
        Ok(answer) => Ok(Answer::Launched(
            answer.instances().iter().filter_map(from_sdk).collect(),
        )),
        Err(error) if error.class == ErrorClass::AlreadyCarriedOut => Ok(Answer::LaunchedBefore),
        Err(error) => Err(error),
    }
}

/// User data as it is sent: as it is, so that people can read it, unless only compressed it fits.
pub(crate) fn packed(user_data: &str) -> Cow<'_, [u8]> {
    if user_data.len() <= bootstrap::LIMIT {
        return user_data.as_bytes().into();
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail; if it did, EC2 would say that the user data is too long.
    match packed.write_all(user_data.as_bytes()).and_then(|()| packed.finish()) {
        Ok(packed) => packed.into(),
        Err(_) => user_data.as_bytes().into(),
    }
}
