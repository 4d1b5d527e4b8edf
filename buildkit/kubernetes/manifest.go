package kubernetes

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"sigs.k8s.io/yaml"
)

// domain begins the names of sx's own labels and annotations.
const domain = "sx.stagex.tools/"

// Annotations of the StatefulSet.
const (
	specKey    = domain + "spec"    // hash of the specification that sx gave it
	runsKey    = domain + "runs"    // the runs of sx that use it: [runs]
	minimumKey = domain + "minimum" // pods that stay when no run needs them
)

// managedBy is the label of the objects that sx made. It changes no other.
const managedBy, managedBySx = "app.kubernetes.io/managed-by", "sx"

// container is the name of the container, its volume and the claim.
const container = "buildkitd"

// poolLabels returns the labels of a pool's objects, which select its pods as well.
func poolLabels(name string) map[string]string {
	return map[string]string{"app.kubernetes.io/name": "buildkitd", "app.kubernetes.io/instance": name, managedBy: managedBySx}
}

// object is an object of the API, as JSON.
type object = map[string]any

// labelled adds labels of the user to sx's.
func labelled(name string, more map[string]string) object {
	m := object{}
	for key, value := range more {
		m[key] = value
	}
	for key, value := range poolLabels(name) {
		m[key] = value
	}
	return m
}

// statefulSet returns the StatefulSet of an address, with replicas pods. It has no
// service: nothing but the API server connects to the pods.
func (a Address) statefulSet(replicas int) object {
	spec := object{
		"serviceName":         a.Name,
		"podManagementPolicy": "Parallel",
		"selector":            object{"matchLabels": labelled(a.Name, nil)},
		"template":            a.template(),
	}
	if a.Pods.Storage != "" {
		spec["volumeClaimTemplates"] = []any{a.claim()}
	}
	hash := hashOf(spec)
	spec["replicas"] = replicas
	return object{
		"apiVersion": "apps/v1", "kind": "StatefulSet",
		"metadata": object{"name": a.Name, "namespace": a.Namespace, "labels": labelled(a.Name, nil), "annotations": object{specKey: hash}},
		"spec":     spec,
	}
}

// hashOf returns a hash of a specification, by which sx notices that it wants another.
func hashOf(spec object) string {
	data, err := json.Marshal(spec) // maps are sorted
	if err != nil {
		panic("kubernetes: internal error: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

func (a Address) claim() object {
	spec := object{"accessModes": []any{"ReadWriteOnce"}, "resources": object{"requests": object{"storage": a.Pods.Storage}}}
	if a.Pods.StorageClass != "" {
		spec["storageClassName"] = a.Pods.StorageClass
	}
	return object{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": object{"name": container, "labels": labelled(a.Name, nil)}, "spec": spec}
}

func (a Address) template() object {
	p := a.Pods
	spec := object{
		// What is built must not get an account of the cluster.
		"automountServiceAccountToken":  false,
		"enableServiceLinks":            false,
		"terminationGracePeriodSeconds": int(p.Grace.Seconds()),
		"containers":                    []any{a.container()},
	}
	if volumes := p.volumes(); len(volumes) > 0 {
		spec["volumes"] = volumes
	}
	for field, value := range map[string]string{"serviceAccountName": p.ServiceAccount, "schedulerName": p.Scheduler, "priorityClassName": p.PriorityClass} {
		if value != "" {
			spec[field] = value
		}
	}
	if p.PullSecret != "" {
		spec["imagePullSecrets"] = []any{object{"name": p.PullSecret}}
	}
	if len(p.NodeSelector) > 0 {
		spec["nodeSelector"] = p.NodeSelector
	}
	if p.Spread != "" {
		spec["topologySpreadConstraints"] = []any{object{
			"maxSkew": 1, "topologyKey": p.Spread, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": object{"matchLabels": labelled(a.Name, nil)},
		}}
	}
	for _, t := range p.Tolerations {
		list, _ := spec["tolerations"].([]any)
		spec["tolerations"] = append(list, t.object())
	}
	if p.Rootless {
		spec["securityContext"] = object{"fsGroup": rootlessUser}
	}
	meta := object{"labels": labelled(a.Name, p.Labels)}
	if len(p.Annotations) > 0 {
		meta["annotations"] = p.Annotations
	}
	return object{"metadata": meta, "spec": spec}
}

// configVolume is the name of the volume of [Spec.Config], which is mounted at configDir:
// there buildkitd reads buildkitd.toml, and that can name the files beside it.
const configVolume, configDir = "config", "/etc/buildkit"

// volumes returns a pod's volumes, without the claim.
func (p Spec) volumes() (all []any) {
	if p.Storage == "" {
		all = append(all, object{"name": container, "emptyDir": object{}})
	}
	if p.Config != "" {
		all = append(all, object{"name": configVolume, "configMap": object{"name": p.Config}})
	}
	return all
}

func (t Toleration) object() object {
	o := object{"key": t.Key, "operator": "Exists"}
	if t.Value != "" {
		o["operator"], o["value"] = "Equal", t.Value
	}
	if t.Effect != "" {
		o["effect"] = t.Effect
	}
	return o
}

// rootlessUser is the user of BuildKit's rootless image.
const rootlessUser = 1000

func (a Address) container() object {
	p := a.Pods
	state := "/var/lib/buildkit"
	c := object{
		"name":  container,
		"image": p.Image,
		// BuildKit mounts, and makes namespaces and cgroups.
		"securityContext": object{"privileged": true},
		"startupProbe":    workersProbe(1, 30, 600),
		"readinessProbe":  workersProbe(20, 30, 3),
		// sx itself leaves an engine that does not answer for two minutes. The probe ends
		// one that would never come back, and not one that is only slow.
		"livenessProbe": workersProbe(60, 60, 15),
	}
	if p.Rootless {
		state = "/home/user/.local/share/buildkit"
		args := []any{"--oci-worker-no-process-sandbox"}
		if p.Config != "" { // instead of the user's
			args = append(args, "--config="+configDir+"/buildkitd.toml")
		}
		c["args"] = args
		c["securityContext"] = object{
			"runAsUser": rootlessUser, "runAsGroup": rootlessUser,
			"seccompProfile": object{"type": "Unconfined"}, "appArmorProfile": object{"type": "Unconfined"},
		}
	}
	mounts := []any{object{"name": container, "mountPath": state}}
	if p.Config != "" {
		mounts = append(mounts, object{"name": configVolume, "mountPath": configDir, "readOnly": true})
	}
	c["volumeMounts"] = mounts
	resources := object{}
	if len(p.Requests) > 0 {
		resources["requests"] = p.Requests
	}
	if len(p.Limits) > 0 {
		resources["limits"] = p.Limits
	}
	if len(resources) > 0 {
		c["resources"] = resources
	}
	return c
}

// workersProbe asks buildkitd for its workers, every so many seconds.
func workersProbe(every, limit, failures int) object {
	return object{
		"exec":          object{"command": []any{"buildctl", "debug", "workers"}},
		"periodSeconds": every, "timeoutSeconds": limit, "failureThreshold": failures,
	}
}

// disruptionBudget returns the PodDisruptionBudget of an address: a drain of several
// nodes takes one pod after another, and pods that are broken anyway.
func (a Address) disruptionBudget() object {
	spec := object{"maxUnavailable": 1, "selector": object{"matchLabels": labelled(a.Name, nil)}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
	return object{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
		"metadata": object{"name": a.Name, "namespace": a.Namespace, "labels": labelled(a.Name, nil), "annotations": object{specKey: hashOf(spec)}},
		"spec":     spec,
	}
}

// Manifest returns the objects of an address as YAML, for kubectl apply. All its pods run
// until sx engine down.
func (a Address) Manifest() ([]byte, error) {
	set := a.statefulSet(a.Pods.Replicas)
	set["metadata"].(object)["annotations"].(object)[minimumKey] = strconv.Itoa(a.Pods.Replicas)
	var out bytes.Buffer
	for i, o := range []object{set, a.disruptionBudget()} {
		data, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("writing the manifest: %w", err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(data)
	}
	return out.Bytes(), nil
}
