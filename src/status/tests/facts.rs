//! What there is, and what stays in the status while nobody looks: addresses, the network, launches.

use super::*;

#[test]
fn the_address_of_a_head_outlives_it() {
    let mut pass = Pass::settled();
    pass.write();
    pass.observed.inventory.instance.ours.remove("i-h");
    let head = pass.status().head.unwrap();
    assert_eq!(head.private_address.as_deref(), Some("10.0.1.11"));
    assert_eq!((head.instance_id, head.address), (None, None));
}

#[test]
fn an_elastic_address_shows_as_soon_as_it_is_on_the_head() {
    let mut pass = Pass::settled();
    let address = crate::resources::address::Address {
        id: "eipalloc-1".into(),
        public_address: "192.0.2.9".into(),
        association_id: Some("eipassoc-1".into()),
        instance_id: Some("i-h".into()),
        tags: tags::Tags::new(),
    };
    let shelf = &mut pass.observed.inventory.address;
    shelf.swept = Source::Known(());
    shelf.ours.insert(address.id.clone(), address);
    let head = pass.status().head.unwrap();
    assert_eq!(head.public_address.as_deref(), Some("192.0.2.9"));
    assert_eq!(
        (head.address, head.allocation_id),
        (head.public_address, Some("eipalloc-1".into()))
    );
    // While it is awaited from others who use it, it is not forgotten.
    let shelf = &mut pass.observed.inventory.address;
    std::mem::swap(&mut shelf.ours, &mut shelf.others);
    let named = |pass: &Pass| pass.status().head.unwrap().allocation_id;
    assert_eq!(named(&pass), None);
    pass.object.spec.head.public_address = crate::api::PublicAddress::Elastic;
    assert_eq!(named(&pass), Some("eipalloc-1".into()));
}

#[test]
fn the_parts_of_the_network_are_named_and_stay_named_while_nobody_looks() {
    use crate::resources::{subnet::Subnet, vpc::Vpc};
    let mut pass = Pass::settled();
    let (vpc, subnet) = ("vpc-1".to_owned(), "subnet-1".to_owned());
    pass.observed.inventory.vpc.swept = Source::Known(());
    let found = Vpc {
        id: vpc.clone(),
        cidr: "10.0.0.0/16".into(),
        dns_support: true,
        dns_hostnames: true,
        in_the_way: None,
        tags: tags::Tags::new(),
    };
    pass.observed.inventory.vpc.ours.insert(vpc.clone(), found);
    pass.observed.inventory.subnet.swept = Source::Known(());
    let found = Subnet {
        id: subnet.clone(),
        vpc_id: vpc.clone(),
        cidr: "10.0.1.0/24".into(),
        availability_zone: "ra".into(),
        maps_public_addresses: true,
        tags: tags::Tags::new(),
    };
    pass.observed.inventory.subnet.ours.insert(subnet.clone(), found);
    let network = pass.write().network.unwrap();
    assert_eq!(network.vpc_id, Some(vpc));
    assert_eq!(
        (network.subnets[0].name.as_str(), &network.subnets[0].id),
        ("a", &subnet)
    );
    pass.observed.inventory.vpc = Shelf::default();
    pass.observed.inventory.subnet = Shelf::default();
    assert_eq!(pass.status().network, Some(network));

    let spec =
        json!({"network": {"existing": {"vpcId": "vpc-9", "subnetIds": ["subnet-9"], "securityGroupIds": ["sg-9"]}}});
    pass.object = object(&spec);
    let network = pass.status().network.unwrap();
    assert_eq!(
        (network.vpc_id.as_deref(), network.subnets[0].id.as_str()),
        (Some("vpc-9"), "subnet-9")
    );
    assert_eq!(network.security_group_ids, ["sg-9"]);
}

#[test]
fn a_status_of_another_object_counts_as_lost() {
    let mut pass = Pass::settled();
    pass.previous = pass.status();
    pass.previous.cluster_uid = Some("u-0".into());
    pass.observed.inventory.instance = Shelf::default();
    assert_eq!(pass.status().head, None);
}

#[test]
fn launches_are_carried_over_until_they_count_no_more() {
    let launch = |number: u64, recorded_at: &str, state: LaunchState| -> Launch {
        let mut launch = json!({
            "number": number, "count": 1, "instanceType": "t2.medium", "subnetId": "subnet-1",
            "availabilityZone": "ra", "imageId": "ami-1", "rootDevice": "/dev/sda1", "rootVolume": {},
            "securityGroupIds": [], "publicAddress": true, "revision": "ami-1", "tags": {},
            "recordedAt": recorded_at,
        });
        launch["state"] = serde_json::to_value(state).unwrap();
        serde_json::from_value(launch).unwrap()
    };
    let mut pass = Pass::settled();
    pass.observed.ledger = Ledger {
        launches: vec![
            launch(1, "2026-01-01T10:00:00Z", LaunchState::Open),
            launch(2, "2026-01-01T10:00:00Z", LaunchState::Launched),
            launch(3, "2026-01-01T11:30:00Z", LaunchState::Launched),
        ],
        last: Some(3),
        held_until: Some(NOW.parse().unwrap()),
    };
    let status = pass.status();
    assert_eq!(
        status.launches,
        [
            pass.observed.ledger.launches[0].clone(),
            pass.observed.ledger.launches[2].clone()
        ]
    );
    assert_eq!(
        (status.last_launch, status.launches_held_until),
        (Some(3), Some(NOW.parse().unwrap()))
    );
}

#[test]
fn a_cluster_with_an_elastic_address_is_ready_once_that_is_on_its_head() {
    use crate::resources::address::{Address, AddressChange};
    let mut pass = Pass::settled();
    pass.object = object(&json!({"head": {"publicAddress": "Elastic"}}));
    let mut address = Address {
        id: "eipalloc-1".into(),
        public_address: "192.0.2.9".into(),
        association_id: None,
        instance_id: None,
        tags: tags::Tags::new(),
    };
    let shelf = |pass: &mut Pass, address: &Address| {
        let shelf = &mut pass.observed.inventory.address;
        shelf.swept = Source::Known(());
        shelf.ours.insert(address.id.clone(), address.clone());
    };
    shelf(&mut pass, &address);
    let associate = AddressChange::Associate {
        id: "eipalloc-1".into(),
        instance_id: "i-h".into(),
    };
    pass.plan.actions = vec![Action::Aws(crate::resources::Change::Address(associate))];
    let status = pass.write();
    for kind in [ConditionType::HeadReady, ConditionType::Ready] {
        assert_eq!(told(&status, kind), "False Provisioning");
    }
    assert_eq!(told(&status, ConditionType::NetworkReady), "True AsSpecified");
    let before = status.head.and_then(|head| head.public_address);
    assert_eq!(before.as_deref(), Some("203.0.113.9"), "the one of its launch");

    pass.plan.actions.clear();
    address.association_id = Some("eipassoc-1".into());
    address.instance_id = Some("i-h".into());
    shelf(&mut pass, &address);
    let status = pass.write();
    assert_eq!(told(&status, ConditionType::Ready), "True AsSpecified");
    assert_eq!(status.head.and_then(|head| head.address).as_deref(), Some("192.0.2.9"));
}
