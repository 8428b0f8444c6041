//! What EC2 refuses: what is in use cannot be deleted, and what has to be unique is.

use rayward::{
    aws::ErrorClass,
    resources::{
        Change, address::AddressChange, instance::InstanceChange, internet_gateway::InternetGatewayChange,
        key_pair::KeyPairChange, route_table::RouteTableChange, security_group::SecurityGroupChange,
        subnet::SubnetChange, volume::VolumeChange, vpc::VpcChange,
    },
};

use super::State;

type Rule = Result<(), (ErrorClass, &'static str)>;

const IN_USE: (ErrorClass, &str) = (ErrorClass::Waiting, "DependencyViolation");

fn refuse_if(refused: bool, why: (ErrorClass, &'static str)) -> Rule {
    if refused { Err(why) } else { Ok(()) }
}

fn needs(exists: bool, code: &'static str) -> Rule {
    refuse_if(!exists, (ErrorClass::NotFound, code))
}

impl State {
    /// Whether EC2 would carry a change out.
    pub(super) fn check(&self, change: &Change) -> Rule {
        match change {
            Change::Vpc(VpcChange::Delete { id }) => refuse_if(self.has_content(id), IN_USE),
            Change::Subnet(SubnetChange::Create { vpc_id, cidr, .. }) => {
                needs(self.real.vpc.ours.contains_key(vpc_id), "InvalidVpcID.NotFound")?;
                let mut beside = self.real.subnet.ours.values().filter(|subnet| subnet.vpc_id == *vpc_id);
                let conflict = (ErrorClass::Terminal, "InvalidSubnet.Conflict");
                refuse_if(beside.any(|subnet| subnet.cidr == *cidr), conflict)
            }
            Change::Subnet(SubnetChange::Delete { id }) => {
                refuse_if(self.live_machines().any(|(subnet, _)| subnet == id), IN_USE)
            }
            Change::InternetGateway(InternetGatewayChange::Attach { vpc_id, .. }) => {
                needs(self.real.vpc.ours.contains_key(vpc_id), "InvalidVpcID.NotFound")?;
                let mut gateways = self.real.internet_gateway.ours.values();
                let attached = gateways.any(|gateway| gateway.attached_to.as_ref() == Some(vpc_id));
                refuse_if(attached, (ErrorClass::Terminal, "Resource.AlreadyAssociated"))
            }
            Change::InternetGateway(InternetGatewayChange::Detach { vpc_id, .. }) => {
                let public = self.live_machines().any(|(_, vpc)| vpc == vpc_id);
                refuse_if(public, IN_USE)
            }
            Change::InternetGateway(InternetGatewayChange::Delete { id }) => {
                let gateway = self.real.internet_gateway.ours.get(id);
                refuse_if(gateway.is_some_and(|gateway| gateway.attached_to.is_some()), IN_USE)
            }
            Change::RouteTable(RouteTableChange::Delete { id }) => {
                let table = self.real.route_table.ours.get(id);
                refuse_if(table.is_some_and(|table| !table.associations.is_empty()), IN_USE)
            }
            Change::SecurityGroup(SecurityGroupChange::Create { name, vpc_id, .. }) => {
                needs(self.real.vpc.ours.contains_key(vpc_id), "InvalidVpcID.NotFound")?;
                let mut groups = self.real.security_group.ours.values();
                let taken = groups.any(|group| group.vpc_id == *vpc_id && group.name == *name);
                refuse_if(taken, (ErrorClass::Terminal, "InvalidGroup.Duplicate"))
            }
            Change::SecurityGroup(SecurityGroupChange::Delete { id }) => {
                let vpc = self.real.security_group.ours.get(id).map(|group| &group.vpc_id);
                refuse_if(
                    vpc.is_some_and(|vpc| self.live_machines().any(|(_, used)| used == vpc)),
                    IN_USE,
                )
            }
            Change::KeyPair(KeyPairChange::Import { name, .. }) => {
                let taken = self.real.key_pair.ours.values().any(|pair| pair.name == *name);
                refuse_if(taken, (ErrorClass::Terminal, "InvalidKeyPair.Duplicate"))
            }
            Change::Volume(VolumeChange::Delete { id }) => {
                let volume = self.real.volume.ours.get(id);
                refuse_if(
                    volume.is_some_and(|volume| !volume.available),
                    (ErrorClass::Waiting, "VolumeInUse"),
                )
            }
            _ => Ok(()),
        }
    }

    /// Whether what a removal is about is still there.
    pub(super) fn exists(&self, change: &Change) -> bool {
        let real = &self.real;
        match change {
            Change::Vpc(VpcChange::Delete { id }) => real.vpc.ours.contains_key(id),
            Change::Subnet(SubnetChange::Delete { id }) => real.subnet.ours.contains_key(id),
            Change::InternetGateway(InternetGatewayChange::Delete { id }) => {
                real.internet_gateway.ours.contains_key(id)
            }
            Change::RouteTable(RouteTableChange::Delete { id }) => real.route_table.ours.contains_key(id),
            Change::SecurityGroup(SecurityGroupChange::Delete { id }) => real.security_group.ours.contains_key(id),
            Change::KeyPair(KeyPairChange::Delete { id, .. }) => real.key_pair.ours.contains_key(id),
            Change::Address(AddressChange::Release { id }) => real.address.ours.contains_key(id),
            Change::Volume(VolumeChange::Delete { id }) => real.volume.ours.contains_key(id),
            Change::Instance(InstanceChange::Terminate { ids, .. }) => {
                ids.iter().any(|id| real.instance.ours.contains_key(id))
            }
            _ => true,
        }
    }

    fn has_content(&self, vpc_id: &str) -> bool {
        let real = &self.real;
        real.subnet.ours.values().any(|subnet| subnet.vpc_id == vpc_id)
            || real.security_group.ours.values().any(|group| group.vpc_id == vpc_id)
            || real.route_table.ours.values().any(|table| table.vpc_id == vpc_id)
            || real
                .internet_gateway
                .ours
                .values()
                .any(|gateway| gateway.attached_to.as_deref() == Some(vpc_id))
    }

    /// Subnet and VPC of each machine that still has its network interface.
    fn live_machines(&self) -> impl Iterator<Item = (&String, &String)> {
        let machines = self.real.instance.ours.values();
        machines
            .filter(|machine| machine.state != rayward::resources::instance::InstanceState::Terminated)
            .filter_map(|machine| Some((machine.subnet_id.as_ref()?, machine.vpc_id.as_ref()?)))
    }
}
